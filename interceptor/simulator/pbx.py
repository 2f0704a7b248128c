"""A PBX in memory that speaks HTTP: the composition of its parts, and the door for tests, scenarios and the demo."""

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from types import TracebackType
from typing import Self

from interceptor.simulator import commands, lifecycle
from interceptor.simulator.answers import Answer, CommandError, encode
from interceptor.simulator.calls import Call, CallState, CallTable, Party
from interceptor.simulator.clock import Clock, RealClock
from interceptor.simulator.commands.base import Asked as Command
from interceptor.simulator.core import Core, Generation, Order, Subscriptions
from interceptor.simulator.directory import API, Directory, Extension, Phone
from interceptor.simulator.events import (
    CallChanged,
    CommandAnswered,
    CommandReceived,
    Event,
    EventLog,
    MessageDelivered,
    Pairs,
)
from interceptor.simulator.faults import Faults
from interceptor.simulator.http_server import Asked, Given, HttpServer
from interceptor.simulator.notifications import Notifier
from interceptor.simulator.ozml.session import Session
from interceptor.simulator.ozml.verbs import BY_NAME
from interceptor.simulator.quick_server import QuickServer

SOFTWARE = "Microsoft-HTTPAPI/2.0"

Network = IPv4Network | IPv6Network

EXAMPLE_EXTENSIONS = (
    Extension(id="5000", type=API),
    *(Extension(id=number, authorization_name=number, password=f"sip-{number}") for number in ("2301", "2405", "2406")),
    Extension(id="1099", authorization_name="1099", password="sip-1099"),  # noqa: S106  a made-up phone's
)


class SimulatedPbx:
    """One PBX on a port of its own. ``async with SimulatedPbx() as pbx: pbx.url``.

    ``users`` switches office user authentication on; ``acl`` names those of them that may use the API (``None``: all);
    ``allowed`` and ``denied`` are addresses. ``notification_seconds`` is how long it waits for an app's answer.
    ``quick`` is for a load: it costs less and knows no faults.
    """

    def __init__(
        self,
        *,
        name: str = "pbx",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        generation: Generation = Generation.PHONE_SYSTEM,
        extensions: Iterable[Extension] = EXAMPLE_EXTENSIONS,
        phones: Iterable[Phone] = (),
        users: Mapping[str, str] | None = None,
        acl: Iterable[str] | None = None,
        allowed: Iterable[Network] = (),
        denied: Iterable[Network] = (),
        notification_seconds: float = 10.0,
        call_waits_for_pickup: bool = False,
        voicemails: Iterable[Mapping[str, str]] = (),
        seed: int = 1,
        quick: bool = False,
    ) -> None:
        self.name = name
        self.clock: Clock = clock or RealClock()
        self.log = EventLog(self.clock)
        self.directory = Directory(extensions, phones)
        self.users = dict(users or {})
        self.acl = None if acl is None else frozenset(acl)
        self._allowed, self._denied = tuple(allowed), tuple(denied)
        server = QuickServer if quick else HttpServer
        self._server = server(self._answer, host=host, port=port, software=SOFTWARE, bare_query=True)
        self.core = Core(
            clock=self.clock,
            log=self.log,
            directory=self.directory,
            notifier=Notifier(self.clock, self.log, patience_seconds=notification_seconds),
            table=CallTable(seed=seed),
            generation=generation,
            live=lifecycle.live,
            record_completed=lifecycle.record_completed,
            call_changed=lifecycle.call_changed,
            carry_out=commands.carry_out,
            verbs=BY_NAME,
        )
        self.core.call_waits_for_pickup = call_waits_for_pickup
        self.core.voicemails = tuple(dict(each) for each in voicemails)

    @property
    def url(self) -> str:
        """Where commands go, without a slash at the end (Ozeki 10: with its path)."""
        return self._server.url + ("/api" if self.core.generation is Generation.OZEKI_10 else "")

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def faults(self) -> Faults:
        """The switches for what goes wrong with answers to commands."""
        return self._server.faults

    @property
    def subscriptions(self) -> Subscriptions:
        """Where the configured notifications go; may be changed at any time."""
        return self.core.subscriptions

    @property
    def accidents(self) -> list[BaseException]:
        """Faults of the simulator itself; empty when all is well."""
        return list(self.core.accidents)

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self) -> None:
        """End every call and every connection."""
        await self._server.stop()
        await self.core.stop()

    async def refuse_connections(self) -> None:
        """Be a PBX that is down: its port refuses. Calls go on."""
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

    def dial(self, caller: str, dialled: str, *, caller_id: str = "") -> Call:
        """Let a phone, inside or outside, call a number."""
        return self.core.place(Order(caller=caller, dialled=dialled, caller_id=caller_id))

    def press(self, call: Call, keys: str, party: Party = Party.CALLER) -> None:
        """Let a party of a call press keys."""
        self.core.press(call, party, keys)

    def hang_up(self, call: Call, party: Party = Party.CALLER) -> None:
        """Let a party hang up; a caller who does before anybody picked up has cancelled."""
        early = call.answered_at is None
        state = CallState.COMPLETED if not early else CallState.CANCELLED if party is Party.CALLER else CallState.BUSY
        self.core.finish(call, state, by=party.value)

    def raise_alarm(self, call: Call, fields: Pairs) -> None:
        """Let the alarm panel at the other end of a call report something (``account``, ``eventcode``, …)."""
        call.alarms.append(fields)
        call.alarmed.set()

    def receive_sms(self, sender: str, recipient: str, text: str) -> None:
        """Let a text message come in from outside."""
        self.core.spawn(self._tell_sms(sender, recipient, text))

    async def _tell_sms(self, sender: str, recipient: str, text: str) -> None:
        if self.subscriptions.sms:
            fields = (("X-Sender", sender), ("X-Recipient", recipient), ("X-Message", text))
            told = await self.core.notifier.tell("IncomingSMS", self.subscriptions.sms, fields)
            await Session(self.core, None, None).run(told.verbs)

    async def wait_for_state(self, call: Call, state: CallState, *, within_seconds: float = 10.0) -> CallChanged:
        """Let time pass until the call has entered that state."""
        return await self.log.wait(
            CallChanged,
            lambda event: event.call_id == call.id and event.state == state.value,
            within_seconds=within_seconds,
        )

    async def wait_for_end(self, call: Call, *, within_seconds: float = 10.0) -> CallState:
        """Let time pass until the call is over, and say how it ended."""
        await self.log.wait(
            CallChanged,
            lambda event: event.call_id == call.id and CallState(event.state).is_final,
            within_seconds=within_seconds,
        )
        return call.state

    def commands_seen(self, name: str | None = None) -> list[CommandReceived]:
        """The commands that arrived, in order, whatever became of them."""
        return self.log.of(CommandReceived, lambda event: name is None or event.name.lower() == name.lower())

    def delivered(self, how: str | None = None) -> list[MessageDelivered]:
        """The messages that left the house."""
        return self.log.of(MessageDelivered, lambda event: how is None or event.how == how)

    @property
    def events(self) -> list[Event]:
        """Everything that is still in the log."""
        return self.log.all

    async def _answer(self, request: Asked) -> Given:
        values: dict[str, str] = {}
        for key, value in request.pairs:
            values.setdefault(key.lower(), value)
        name = values.get("command", "")
        self.log.append(
            CommandReceived(
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
        )
        if self.core.call_waits_for_pickup:
            answer = await self._carry_out(request, Command(name, values))
        else:
            with self.clock.hold():
                answer = await self._carry_out(request, Command(name, values))
        self.log.append(CommandAnswered(at=self.clock.now(), name=name, code=answer.code, message=answer.message))
        return Given(name, encode(answer))

    async def _carry_out(self, request: Asked, asked: Command) -> Answer:
        try:
            self._check_access(request, asked)
        except CommandError as error:
            return error.answer
        return await commands.carry_out(self.core, asked)

    def _check_access(self, request: Asked, asked: Command) -> None:
        """Address first, then user, then ACL; the order is an assumption."""
        if request.method not in {"GET", "POST"}:
            raise CommandError(300, request.method)
        if self._allowed or self._denied:
            source = ip_address(request.source)
            if any(source in network for network in self._denied) or (
                self._allowed and not any(source in network for network in self._allowed)
            ):
                raise CommandError(307)
        if not self.users:
            return
        username, password = asked.get("Username"), asked.get("Password")
        if not username or not password:
            raise CommandError(304)
        if self.users.get(username) != password:
            raise CommandError(305)
        if self.acl is not None and username not in self.acl:
            raise CommandError(306)
