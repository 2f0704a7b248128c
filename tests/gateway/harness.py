"""Real parts for the gateway's tests: Interceptor in a thread, scripted back ends, sockets as clients."""

import asyncio
import contextlib
import http.client
import random
import re
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.audit.record import Record
from interceptor.policy import Source
from interceptor.settings import (
    Address,
    App,
    Cluster,
    Deadlines,
    Durability,
    EmergencyRule,
    JournalSettings,
    Listener,
    PolicySettings,
    Settings,
    Subscription,
    Timeouts,
    Url,
)
from interceptor.simulator.http_server import HeldPort
from interceptor.values import Kind, Verb, Verdict

LOCAL = "127.0.0.1"
WAIT = 10.0  # the most that any wait in these tests takes
OK_XML = (
    b'<?xml version="1.0"?>\r\n<Response>\r\n  <Code>200</Code>\r\n'
    b"  <Message>Command successfully executed</Message>\r\n</Response>"
)
ALLOW_ALL = "rules:\n  - name: everything\n    on: [command, notification]\n    allow: true\n"

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, "Backend"], Awaitable[None]]


class Loop:
    """An event loop in a thread; what a test starts in it is ended with it."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run[T](self, work: Awaitable[T], seconds: float = WAIT * 3) -> T:
        async def awaited() -> T:
            return await work

        future: Future[T] = asyncio.run_coroutine_threadsafe(awaited(), self.loop)
        return future.result(seconds)

    def close(self) -> None:
        async def end() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self.run(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(WAIT)
        self.loop.close()


@contextmanager
def held(loop: Loop) -> Iterator[None]:
    """Keep a loop from running, so that whatever is sent to it meanwhile is there when it goes on."""
    begun, over = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert over.wait(WAIT)

    loop.loop.call_soon_threadsafe(hold)
    assert begun.wait(WAIT)
    try:
        yield
    finally:
        over.set()


@dataclass
class Backend:
    """A server that does to each connection what its script says, and remembers every request."""

    loop: Loop
    script: Script
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    listening: socket.socket | None = None  # where it is to serve, if not on a port of its own
    _server: asyncio.Server | None = None
    _held: HeldPort = field(default_factory=HeldPort)
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def start(self) -> "Backend":
        self._held.release()

        async def listen() -> None:
            if self.listening is not None:
                self._server = await asyncio.start_server(self._serve, sock=self.listening)
            else:
                self._server = await asyncio.start_server(self._serve, LOCAL, self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self.loop.run(listen())
        return self

    def stop(self) -> None:
        """Refuse connections from now on, and cut those that are open; the port stays its own."""

        async def end() -> None:
            if self._server is not None:
                self._server.close()
                self._server = None
            for writer in self._writers:
                writer.transport.abort()
            self._writers.clear()

        self.loop.run(end())
        if self.listening is None:
            self._held.hold(LOCAL, self.port)

    def end(self) -> None:
        """Stop for good."""
        self.stop()
        self._held.release()

    def seen(self, request: bytes) -> None:
        """For scripts: a whole request is here."""
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[bytes]:
        """Wait until so many requests have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= count, WAIT), self.requests
            return list(self.requests)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            await self.script(reader, writer, self)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request with its body, as bytes."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length:[ \t]*(\d+)", head)
    return head + (await reader.readexactly(int(length[1])) if length else b"")


def answering(
    body: bytes = OK_XML, head: bytes = b"Content-Type: application/xml\r\n", status: bytes = b"200 OK"
) -> Script:
    """Answers every request of a connection alike."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            backend.seen(await read_request(reader))
            writer.write(b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, head, len(body), body))
            await writer.drain()

    return script


def saying(raw: bytes, *, close: bool = True) -> Script:
    """Answers every request with exactly these bytes, then closes, or waits for the other side to."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            backend.seen(await read_request(reader))
            writer.write(raw)
            await writer.drain()
            if close:
                return

    return script


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """Reads requests and never answers."""
    del writer
    while True:
        backend.seen(await read_request(reader))


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """Reads a request and cuts the connection."""
    backend.seen(await read_request(reader))
    writer.transport.abort()


class Gate:
    """Holds something back in the loop until the test opens it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open = asyncio.Event()

    def open(self) -> None:
        """Let pass whatever waits."""
        self._loop.loop.call_soon_threadsafe(self._open.set)

    def close(self) -> None:
        """Hold back what comes from now on."""
        self._loop.loop.call_soon_threadsafe(self._open.clear)

    async def passed(self) -> None:
        """For scripts: go on when the test says so."""
        await self._open.wait()


def gated(gate: Gate, body: bytes = OK_XML) -> Script:
    """Answers like any other, but each answer waits for the gate."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            backend.seen(await read_request(reader))
            await gate.passed()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()

    return script


@dataclass
class Answer:
    """What a client read: the status line, the headers by lower-case name, the body."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def code(self) -> int | None:
        """The PBX code in the body."""
        found = re.search(rb"<Code>(\d+)</Code>", self.body)
        return int(found[1]) if found else None


class Client:
    """A socket to a listener."""

    def __init__(self, address: Address) -> None:
        self.socket = socket.create_connection((address.host, address.port), WAIT)
        self.socket.settimeout(WAIT)
        self._rest = b""

    def send(self, data: bytes) -> "Client":
        self.socket.sendall(data)
        return self

    def read(self, *, bodiless: bool = False) -> Answer:
        """The next answer."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._more(data)
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = 0 if bodiless else int(headers.get("content-length", "0"))
        while len(rest) < length:
            rest += self._more(rest)
        body, self._rest = rest[:length], rest[length:]
        return Answer(int(lines[0].split(" ")[1]), headers, body, head + b"\r\n\r\n" + body)

    def read_to_end(self) -> bytes:
        """Whatever comes until the other side closes."""
        data, self._rest = self._rest, b""
        while more := self.socket.recv(65536):
            data += more
        return data

    def half_close(self) -> "Client":
        """Say that nothing more is sent."""
        self.socket.shutdown(socket.SHUT_WR)
        return self

    def ended(self) -> bool:
        """Whether the other side closes without another byte."""
        try:
            return self._rest == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def _more(self, so_far: bytes) -> bytes:
        more = self.socket.recv(65536)
        assert more, f"the connection ended after {so_far!r}"
        return more


def page(admin: Address, path: str) -> tuple[int, str]:
    """A page of an admin listener: its status and its text."""
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=WAIT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Records(list[Record]):
    """The records of a running proxy, as they are made."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def append(self, record: Record) -> None:
        """For the proxy's thread."""
        with self._changed:
            super().append(record)
            self._changed.notify_all()

    def wait_for(self, kind: str, count: int) -> list[Any]:
        """Wait until so many records of a kind were made."""

        def found() -> list[Any]:
            return [record for record in self if type(record).__name__ == kind]

        with self._changed:
            assert self._changed.wait_for(lambda: len(found()) >= count, WAIT), list(self)
            return found()


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold within the time that a test has.

    It is asked ever more seldom: asking takes processor time, and whoever is waited for needs that.
    """
    over = time.monotonic() + WAIT
    pause = 0.005
    while not holds():
        if time.monotonic() > over:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.1)
    return True


class Proxy:
    """Interceptor, running."""

    def __init__(self, loop: Loop, settings: Settings, rules: str) -> None:
        self.loop = loop
        self.settings = settings
        self.records = Records()
        self._rules = rules
        self._interceptor: Interceptor | None = None
        self._clients: list[Client] = []

    def start(self) -> "Proxy":
        async def begin() -> Interceptor:
            sources = [Source("test.yaml", self._rules.encode())]
            interceptor = Interceptor(self.settings, sources, observe=self.records.append)
            await interceptor.start()
            return interceptor

        self._interceptor = self.loop.run(begin())
        return self

    @property
    def running(self) -> Interceptor:
        assert self._interceptor is not None
        return self._interceptor

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self._interceptor is not None:
            self.loop.run(self._interceptor.stop())
            self._interceptor = None

    def client(self, listener: str = "commands") -> Client:
        client = Client(self.running.addresses[listener])
        self._clients.append(client)
        return client

    def get(self, target: str, listener: str = "commands") -> Answer:
        """One command by GET."""
        return self.client(listener).send(f"GET {target} HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode()).read()

    def notify(self, body: str, path: str = "/") -> Answer:
        """One notification, as the PBX sends it."""
        request = (
            f"POST {path} HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nHost: app.test\r\n"
            f"Cache-Control: no-store,no-cache\r\nPragma: no-cache\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        return self.client("notifications").send(request.encode()).read()

    def page(self, path: str) -> str:
        """A page of the admin listener, whatever its status."""
        return page(self.running.addresses["admin"], path)[1]

    def counted(self, metric: str) -> float:
        """The value of a metric, written as in the exposition with all its labels; 0 where it is not there yet."""
        for line in self.page("/metrics").splitlines():
            name, _, value = line.rpartition(" ")
            if name == metric:
                return float(value)
        return 0.0

    def settled(self, count: int) -> list[Any]:
        """Wait until so many exchanges are settled."""
        return self.records.wait_for("SettlementRecord", count)

    def settlements(self) -> list[Any]:
        return [record for record in self.records if type(record).__name__ == "SettlementRecord"]

    def decisions(self) -> list[Any]:
        return [record for record in self.records if type(record).__name__ == "DecisionRecord"]


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to no connection for its own end."""
    for _ in range(100):
        with socket.socket() as held, contextlib.suppress(OSError):
            held.bind((LOCAL, random.SystemRandom().randrange(_PORTS_BEGIN - 12_000, _PORTS_BEGIN)))
            return int(held.getsockname()[1])
    raise OSError("no port is free")


def _first_of_the_systems_own() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        return 32768


_PORTS_BEGIN = max(_first_of_the_systems_own(), 14_000)


def settings_for(state: Path, pbx: list[int], app: int = 9, **changes: Any) -> Settings:
    """A configuration for tests: one cluster, one app known by its address; deadlines that a test can wait for."""
    settings = Settings(
        country="HU",
        extensions=("1xxx", "2xxx"),
        time_zone="Europe/Budapest",
        workers=1,
        listeners=(
            Listener("commands", Kind.COMMAND, Address(LOCAL, 0)),
            Listener("notifications", Kind.NOTIFICATION, Address(LOCAL, 0)),
        ),
        admin=Address(LOCAL, 0),
        clusters={"pbx": Cluster("pbx", tuple(Url(LOCAL, port, "/") for port in pbx), retry_after=0.2)},
        default_cluster="pbx",
        apps={
            "crm": App(
                "crm",
                (ip_network("127.0.0.0/8"),),
                url=Url(LOCAL, app, "/pbx"),
                fallback=(Verb("Speak", (), "One moment please"), Verb("BlindTransfer", (("Target", "1099"),))),
            )
        },
        subscriptions=(Subscription("crm"),),
        defaults={Kind.COMMAND: Verdict.DENY, Kind.NOTIFICATION: Verdict.ALLOW, Kind.VERB: Verdict.ALLOW},
        rules=state / "rules",
        policy=PolicySettings(emergency=EmergencyRule.UNCHECKED),  # most rules here are about something else
        state=state,
        journal=JournalSettings(state / "journal", Durability.STRICT),
        timeouts=Timeouts(
            connect=1.0,
            command=Deadlines(0.4, 0.8),
            call=Deadlines(0.4, 0.8),
            routing=Deadlines(0.3, 0.5),
            interactive=Deadlines(0.3, 0.5),
            report=Deadlines(0.3, 0.5),
            request=0.5,
            idle=5.0,
            shutdown=2.0,
        ),
    )
    return replace(settings, **changes)
