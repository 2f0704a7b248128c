"""Ways in which the other side can fail, to be switched on for a test.

All times here are real seconds: what is tested are network deadlines.
"""

from collections.abc import Callable

from msgspec import Struct


class Fault(Struct, frozen=True):
    """Something wrong with the way a request is answered."""


class Hang(Fault, frozen=True):
    """No byte of an answer comes; the connection is closed after ``seconds`` or when the server stops."""

    seconds: float = 3600.0


class CloseWithoutAnswer(Fault, frozen=True):
    """The request is read whole and carried out, and the connection closed without a byte."""


class CloseMidAnswer(Fault, frozen=True):
    """The head promises the whole body; the connection is closed after ``body_bytes`` of it."""

    body_bytes: int = 10


class SlowBytes(Fault, frozen=True):
    """The body comes ``step_bytes`` at a time, with a pause before each."""

    step_bytes: int = 1
    pause_seconds: float = 0.05


class HttpStatus(Fault, frozen=True):
    """An HTTP status with a page for people in place of the answer."""

    status: int = 500


class Rubbish(Fault, frozen=True):
    """HTTP 200 with a body that is not what was asked for."""

    body: bytes = b"<html><body>Fatal error: Uncaught exception in index.php</body></html>"
    content_type: str = "text/html"


class NotHttp(Fault, frozen=True):
    """Bytes that are no HTTP at all, then the end of the connection."""

    data: bytes = b"\x00\x01SSH-2.0-not-what-you-think\r\n\r\n"


class CloseAfterAnswer(Fault, frozen=True):
    """A right answer that says ``Connection: close``, as the PBX's own requests do."""


class Chunked(Fault, frozen=True):
    """A right answer in chunks of ``step_bytes``, without a Content-Length."""

    step_bytes: int = 16


BY_NAME: dict[str, type[Fault]] = {
    "hang": Hang,
    "close_without_answer": CloseWithoutAnswer,
    "close_mid_answer": CloseMidAnswer,
    "slow_bytes": SlowBytes,
    "http_status": HttpStatus,
    "rubbish": Rubbish,
    "not_http": NotHttp,
    "close_after_answer": CloseAfterAnswer,
    "chunked": Chunked,
}
"""The names that scenarios and the command line use. ``refuse`` is not here: it is done to the listening socket."""


class _Planned:
    __slots__ = ("fault", "times", "where")

    def __init__(self, fault: Fault, times: int | None, where: Callable[[str], bool] | None) -> None:
        self.fault, self.times, self.where = fault, times, where


class Faults:
    """Which faults are switched on. The first that fits a request is the one that happens."""

    def __init__(self) -> None:
        self._planned: list[_Planned] = []

    def inject(self, fault: Fault, *, times: int | None = None, where: Callable[[str], bool] | None = None) -> None:
        """Switch a fault on for the next ``times`` requests whose message name fits (``None``: until :meth:`clear`)."""
        self._planned.append(_Planned(fault, times, where))

    def clear(self) -> None:
        """Switch every fault off."""
        self._planned.clear()

    def take(self, name: str) -> Fault | None:
        """The fault that this request is to meet; one of its times is used up."""
        for planned in self._planned:
            if planned.where is not None and not planned.where(name):
                continue
            if planned.times is not None:
                planned.times -= 1
                if planned.times <= 0:
                    self._planned.remove(planned)
            return planned.fault
        return None
