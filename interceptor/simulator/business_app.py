"""A business application in memory: answers notifications from its pages, sends commands as a click-to-call client."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from interceptor.simulator.client import CommandAnswer, CommandClient
from interceptor.simulator.clock import Clock, RealClock
from interceptor.simulator.events import Event, EventLog, NotificationReceived, NotificationReplied
from interceptor.simulator.faults import Faults
from interceptor.simulator.http_server import Asked, Given, HttpServer
from interceptor.simulator.pages import Door, Page, document
from interceptor.simulator.quick_server import QuickServer

SOFTWARE = "simulated-app"


class SimulatedApp:
    """One app on a port of its own. ``async with SimulatedApp(doors=[Door(menu)]) as app: app.url``.

    Without a page that fits, the answer is an empty ``Response``. ``pbx_url`` is where :meth:`command` asks; it may be
    set later, before the first command. ``quick`` is for a load: it costs less and knows no faults.
    """

    def __init__(
        self,
        *,
        name: str = "app",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        doors: Iterable[Door] = (),
        pbx_url: str = "",
        username: str = "",
        password: str = "",
        content_type: str = "text/xml",
        patience_seconds: float = 35.0,
        quick: bool = False,
    ) -> None:
        self.name = name
        self.clock: Clock = clock or RealClock()
        self.log = EventLog(self.clock)
        self.doors = list(doors)
        self.pbx_url = pbx_url
        self.username, self.password = username, password
        self._content_type = content_type
        self._patience_seconds = patience_seconds
        server = QuickServer if quick else HttpServer
        self._server = server(self._answer, host=host, port=port, software=SOFTWARE, bare_query=False)
        self._client: CommandClient | None = None
        self._client_of = ("", "", "")  # where it asks, and as whom

    @property
    def url(self) -> str:
        """Where notifications go, without a slash at the end."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def faults(self) -> Faults:
        """The switches for what goes wrong with answers to notifications."""
        return self._server.faults

    @property
    def events(self) -> list[Event]:
        """Everything that is still in the log."""
        return self.log.all

    def add(self, page: Page, *, name: str | None = None, path: str | None = None) -> None:
        """Let a page answer notifications of that name and path, unless an earlier one does."""
        self.doors.append(Door(page, name, path))

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self) -> None:
        """Close every connection."""
        await self._server.stop()
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def refuse_connections(self) -> None:
        """Be an app that has died: its port refuses."""
        await self._server.refuse()

    async def accept_connections(self) -> None:
        """Be up again on the same port."""
        await self._server.accept()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def command(self, name: str, /, *, method: str = "GET", **parameters: str) -> CommandAnswer:
        """Send a command: ``await app.command("Call", Dialed="+36201234567", Url=…)``."""
        known = (self.pbx_url, self.username, self.password)
        if self._client is None or self._client_of != known:
            if self._client is not None:
                await self._client.close()
            self._client_of = known
            self._client = CommandClient(
                self.pbx_url,
                self.clock,
                self.log,
                username=self.username,
                password=self.password,
                patience_seconds=self._patience_seconds,
            )
        return await self._client.send(name, tuple(parameters.items()), method=method)

    def notifications_seen(self, name: str | None = None) -> list[NotificationReceived]:
        """The notifications that arrived, in order, whatever became of them."""
        return self.log.of(NotificationReceived, lambda event: name is None or event.name.lower() == name.lower())

    async def wait_for_notification(self, name: str, *, within_seconds: float = 10.0) -> NotificationReceived:
        """The first notification of that name; lets time pass until it is there."""
        return await self.log.wait(
            NotificationReceived, lambda event: event.name.lower() == name.lower(), within_seconds=within_seconds
        )

    async def _answer(self, request: Asked) -> Given:
        name = next((value for key, value in request.pairs if key.lower() == "notificationname"), "")
        received = NotificationReceived(
            at=self.clock.now(),
            name=name,
            parameters=request.pairs,
            method=request.method,
            target=request.target,
            body=request.body,
            headers=request.headers,
            source=request.source,
            http_version=request.http_version,
        )
        self.log.append(received)
        page = next((door.page for door in self.doors if door.fits(name, request.path)), None)
        body = document() if page is None else page.answer(received)
        self.log.append(NotificationReplied(at=self.clock.now(), name=name, body=body))
        return Given(name, body, self._content_type)
