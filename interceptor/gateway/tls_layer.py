"""TLS as mitmproxy speaks it, with a bound for what it begins with, and an end that a client can tell from a cut."""

from collections.abc import Generator
from typing import Any, Final

from mitmproxy.proxy.commands import CloseConnection, Command
from mitmproxy.proxy.layers.tls import ClientTLSLayer
from OpenSSL import SSL

_HELLO_MOST: Final = 16 << 10  # bytes; those of clients have some two thousand at the most
_FAULT_MOST: Final = 200  # letters of what is wrong: mitmproxy's words hold all that the peer has sent


class TlsLayer(ClientTLSLayer):
    """TLS with a client."""

    def receive_handshake_data(self, data: bytes) -> Generator[Command, Any, tuple[bool, str | None]]:
        """Read on, as far as it may go: each piece of a hello has mitmproxy read it from its first byte."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > _HELLO_MOST:
            return False, "Cannot parse ClientHello: too long"
        return (yield from super().receive_handshake_data(data))

    def on_handshake_error(self, err: str) -> Generator[Command, Any, None]:
        """Say what is wrong, and close."""
        yield from super().on_handshake_error(err[:_FAULT_MOST])

    def send_close(self, command: CloseConnection) -> Generator[Command, Any, None]:
        """Say that nothing more will come, and close: without it a client cannot know that it has all."""
        try:
            self.tls.shutdown()
        except SSL.Error:
            pass  # there is nobody to tell
        else:
            yield from self.tls_interact()
        yield from super().send_close(command)
