"""Callbacks on real sockets: what the PBX calls is ours, and what the app gets is what it would have got without us."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.loading import rule_sources
from interceptor.settings import App, CallbackSettings, Limits, Secret, Settings, Url
from interceptor.simulator import Party, Phone, SimulatedApp, SimulatedPbx, VirtualClock, document, verb
from interceptor.simulator.events import Heard, NotificationReceived, NotificationSent
from tests.gateway.harness import ALLOW_ALL, Backend, Proxy, Script, answering, saying, settings_for
from tests.gateway.misbehaving import counted

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

PUBLIC = "http://interceptor.test:7781"
KEYS = (Secret("a key of at least sixteen characters"),)
NEW_KEY = Secret("another key that is long enough")
MINE = CallbackSettings(Url("interceptor.test", 7781, "/"), KEYS)
CALL = "/?command=Call&Dialed=%2B36201234567&ApiExtension=9000&Url={url}"


def called_back(backend: Backend) -> str:
    """The path of the callback in the last command that the PBX got."""
    head = backend.requests[-1].decode("latin-1")
    return "/cb/" + head.partition("%2Fcb%2F")[2].partition("&")[0].partition(" ")[0]


def crm(port: int, **changes: object) -> dict[str, App]:
    """An app on this machine that may send the PBX here."""
    return {
        "crm": replace(settings_for(Path("/nowhere"), [9], app=port).apps["crm"], callbacks=("127.0.0.1",), **changes)
    }


def test_a_callback_goes_to_the_apps_own_address_with_path_query_host_and_body(
    proxy: Start, backend: StartBackend
) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = proxy(pbx.port, callbacks=MINE, apps=crm(app.port))
    url = f"http%3A%2F%2F127.0.0.1%3A{app.port}%2Fpbx%2Fconnected.php%3Fid%3D4711%26note%3D100%2525"
    assert running.get(CALL.format(url=url)).code == 200
    assert b"127.0.0.1" not in pbx.requests[0].partition(b"\r\n")[0]
    answer = running.notify("NotificationName=CallConnected&CallId=abc", called_back(pbx))
    assert (answer.status, answer.body) == (200, b"<Response/>")
    head, _, body = app.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /pbx/connected.php?id=4711&note=100%25 HTTP/1.1\r\n")
    assert b"Host: 127.0.0.1:%d\r\n" % app.port in head + b"\r\n"
    assert body == b"NotificationName=CallConnected&CallId=abc"
    call, connected = running.decisions()
    assert (call.captured, connected.origin, connected.app) == (1, call.exchange, "crm")
    assert connected.path == "/cb/"


def test_callbacks_in_an_answer_are_captured_too(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    body = b"<Response><GoTo>http://127.0.0.1:%d/next?a=1&amp;b=2</GoTo></Response>"
    app = backend(answering(b"<Response/>"))
    menu = backend(answering(body % app.port))
    running = proxy(pbx.port, callbacks=MINE, apps=crm(menu.port))
    answer = running.notify("NotificationName=IncomingCall&CallId=abc")
    assert answer.body.startswith(f"<Response><GoTo>{PUBLIC}/cb/".encode())
    token = answer.body.decode().partition("/cb/")[2].partition("<")[0]
    running.notify("NotificationName=GoTo&CallId=abc", f"/cb/{token}")
    assert app.requests[0].startswith(b"POST /next?a=1&b=2 HTTP/1.1\r\n")
    assert running.settlements()[0].captured == 1


@pytest.mark.parametrize(
    ("path", "reason"),
    [("/cb/", "callback_forged"), ("/cb/AAAA", "callback_forged"), ("/cb/../x", "callback_forged")],
)
def test_a_forged_token_is_refused_recorded_and_leads_nowhere(
    proxy: Start, backend: StartBackend, path: str, reason: str
) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = proxy(pbx.port, app.port, callbacks=MINE)
    answer = running.notify("NotificationName=GoTo", path)
    assert (answer.status, answer.body.strip().endswith(b"<Response/>")) == (403, True)
    assert (pbx.requests, app.requests) == ([], [])
    assert running.decisions()[0].reason == reason
    assert running.counted(f'interceptor_refusals_total{{reason="{reason}"}}') == 1


def test_a_token_of_an_app_that_is_gone_or_restricted_since_is_refused(proxy: Start, backend: StartBackend) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    before = proxy(pbx.port, callbacks=MINE, apps=crm(app.port))
    before.get(CALL.format(url=f"http%3A%2F%2F127.0.0.1%3A{app.port}%2F"))
    path = called_back(pbx)
    before.stop()
    for apps, reason in (
        ({"other": replace(crm(app.port)["crm"], name="other")}, "callback_foreign"),
        ({"crm": replace(crm(app.port)["crm"], callbacks=("10.0.0.0/8",))}, "callback_forbidden"),
    ):
        after = proxy(pbx.port, callbacks=MINE, apps=apps, subscriptions=())
        assert after.notify("NotificationName=GoTo", path).status == 403
        assert after.decisions()[0].reason == reason
        after.stop()
    late = proxy(
        pbx.port, callbacks=replace(MINE, keys=(Secret("another key that is long enough"),)), apps=crm(app.port)
    )
    assert late.notify("NotificationName=GoTo", path).status == 403
    late.stop()
    rotated = proxy(pbx.port, callbacks=replace(MINE, keys=(NEW_KEY, *KEYS)), apps=crm(app.port))
    assert rotated.notify("NotificationName=GoTo", path).status == 200


def test_a_token_whose_time_is_over_is_refused_and_leads_nowhere(proxy: Start, backend: StartBackend) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = proxy(pbx.port, callbacks=replace(MINE, lifetime=0.0), apps=crm(app.port))
    running.get(CALL.format(url=f"http%3A%2F%2F127.0.0.1%3A{app.port}%2F"))
    answer = running.notify("NotificationName=CallConnected&CallId=abc", called_back(pbx))
    assert (answer.status, app.requests) == (403, [])
    assert running.decisions()[-1].reason == "callback_expired"
    assert running.counted('interceptor_refusals_total{reason="callback_expired"}') == 1


def test_a_command_may_not_point_the_pbx_at_an_inner_address(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, callbacks=MINE, apps=crm(8001))
    answer = running.get(CALL.format(url="http%3A%2F%2F169.254.169.254%2Flatest"))
    assert (answer.code, pbx.requests) == (306, [])
    assert running.decisions()[0].reason == "callback_forbidden"


def test_a_name_that_leads_to_an_inner_address_is_never_asked(proxy: Start, backend: StartBackend) -> None:
    # "localhost" resolves to loopback; allowed by a wildcard it names no address, so loopback was not meant.
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    allowed = replace(crm(app.port)["crm"], callbacks=("*.localdomain", "localhost.localdomain", "ip6-localhost"))
    running = proxy(pbx.port, callbacks=MINE, apps={"crm": allowed})
    running.get(CALL.format(url=f"http%3A%2F%2Fip6-localhost%3A{app.port}%2F"))
    assert running.notify("NotificationName=GoTo", called_back(pbx)).status == 200
    assert app.requests == []
    assert running.settlements()[-1].outcome in {"fallback", "lost"}


def test_verbs_in_an_answer_are_judged_and_the_rest_stays_byte_for_byte(proxy: Start, backend: StartBackend) -> None:
    body = b"\r\n<?xml version='1.0'?><Response> <Speak>a</Speak><SendSms Recipient='+3690123456'/>\n</Response>"
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    rules = ALLOW_ALL + "  - {name: no-premium, on: SendSms, when: {number: {class: premium}}, deny: true}\n"
    running = proxy(9, backend(saying(reply)).port, rules=rules)
    answer = running.notify("NotificationName=CallConnected&CallId=1")
    assert answer.body == body.replace(b"<SendSms Recipient='+3690123456'/>", b"")
    assert answer.headers["content-type"] == "text/html"
    verbs = [record for record in running.decisions() if record.kind.value == "verb"]
    assert [(record.name, record.rule, record.exchange) for record in verbs] == [
        ("SendSms", "no-premium", running.decisions()[0].exchange)
    ]
    settled = running.settlements()[0]
    assert (settled.outcome, settled.verbs, settled.verbs_refused) == ("answered", 2, 1)
    assert running.counted('interceptor_decisions_total{kind="verb",rule="no-premium",verdict="deny"}') == 1


async def going_in_circles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """An app whose every answer sends the caller to itself."""
    body = b"<Response><GoTo>http://127.0.0.1:%d/menu</GoTo></Response>" % backend.port
    await answering(body)(reader, writer, backend)


def test_menus_that_lead_to_themselves_are_a_storm_also_where_nothing_names_the_call(
    proxy: Start, backend: StartBackend
) -> None:
    app = backend(going_in_circles)
    running = proxy(9, callbacks=MINE, apps=crm(app.port), limits=replace(Limits(), hops=3))
    answers = [running.notify("NotificationName=IncomingCall").body]
    for _ in range(4):
        token = answers[-1].decode().partition("/cb/")[2].partition("<")[0]
        answers.append(running.notify("NotificationName=GoTo", f"/cb/{token}").body)
    assert [b"/cb/" in answer for answer in answers] == [True, True, True, True, False]
    assert b"One moment please" in answers[-1]
    assert [record.outcome for record in running.settlements()] == ["answered"] * 4 + ["fallback"]
    assert running.decisions()[-1].reason == "storm"
    assert counted(running, "interceptor_limit_hits_total", limit="hops") == 1


@pytest.mark.parametrize(
    ("verbs", "limit"),
    [
        (b"<SendSms/>" * 21, "messages"),
        (b"<Beep/>" * 501, "verbs"),
        (b"<Inputs>" * 17 + b"</Inputs>" * 17, "verb_depth"),
        (b"<Inputs>" * 65 + b"</Inputs>" * 65, "xml_depth"),
        (b"<Inputs>" * 400 + b"</Inputs>" * 400, "xml_depth"),
    ],
)
def test_an_answer_over_a_cap_is_refused_and_the_caller_hears_the_fallback(
    proxy: Start, backend: StartBackend, verbs: bytes, limit: str
) -> None:
    running = proxy(9, backend(answering(b"<Response>" + verbs + b"</Response>")).port)
    answer = running.notify("NotificationName=CallConnected&CallId=1")
    assert verbs not in answer.body
    assert running.settlements()[0].outcome in {"fallback", "lost"}
    assert counted(running, "interceptor_limit_hits_total", limit=limit) == 1


def test_an_answer_that_cannot_be_read_passes_only_for_a_legacy_app(proxy: Start, backend: StartBackend) -> None:
    broken = b"<Response><Play>a</Response>"
    app = backend(answering(broken))
    strict = proxy(9, app.port)
    assert strict.notify("NotificationName=CallConnected&CallId=1").body != broken
    strict.stop()
    legacy = proxy(9, app.port, apps={"crm": replace(strict.settings.apps["crm"], legacy=True)})
    assert legacy.notify("NotificationName=CallConnected&CallId=1").body == broken


# whole calls on the simulator


class Level:
    """A menu of many levels that keeps its state in the callback's query, as the vendor's PHP does."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.url = ""

    def answer(self, notification: NotificationReceived) -> bytes:
        level = int(notification.get("level") or 0) + 1
        if level > self.levels:
            return document(verb("Speak", "The end"), verb("Hangup"))
        to = f"{self.url}/menu.php?level={level}&name=Kov%C3%A1cs+%26+son"
        prompt = verb("InitialCommands", "", verb("Speak", f"Level {level}"))
        if level % 2:
            ask = verb("UserInput", "", prompt, Digits="1", Timeout="5", ForwardToUrl=to)
        else:
            go_on = verb("Input", "", verb("GoTo", to), Key="1")
            ask = verb("UserInput", "", prompt, verb("Inputs", "", go_on), Digits="1", Timeout="5")
        return document(ask, verb("Hangup"))


@asynccontextmanager
async def installation(folder: Path, level: Level) -> AsyncIterator[tuple[SimulatedPbx, SimulatedApp, Interceptor]]:
    """A PBX, an app and Interceptor between them, which captures callbacks."""
    (folder / "rules").mkdir()
    (folder / "rules" / "all.yaml").write_text(ALLOW_ALL)
    clock = VirtualClock()
    phones = [Phone(number="+36201234567", answers_after_seconds=1.0)]
    async with SimulatedPbx(clock=clock, phones=phones) as pbx, SimulatedApp(clock=clock) as app:
        settings: Settings = settings_for(folder, [pbx.port], app=app.port)
        public = await _free_port()
        listeners = tuple(
            replace(each, address=replace(each.address, port=public)) if each.name == "notifications" else each
            for each in settings.listeners
        )
        settings = replace(
            settings,
            callbacks=CallbackSettings(Url("127.0.0.1", public, "/"), KEYS),
            apps=crm(app.port),
            listeners=listeners,
        )
        proxy = Interceptor(settings, rule_sources(folder / "rules"))
        await proxy.start()
        try:
            app.pbx_url = f"http://127.0.0.1:{proxy.addresses['commands'].port}"
            level.url = app.url
            app.add(level)
            yield pbx, app, proxy
        finally:
            await proxy.stop()


def _is_prompt(number: int, event: Heard) -> bool:
    return event.what == f"Level {number}"


def _is_level(number: int, event: NotificationReceived) -> bool:
    return f"level={number}&" in event.target


async def _free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


def test_a_six_level_menu_never_leaves_interceptor(tmp_path: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), installation(tmp_path, Level(6)) as (pbx, app, _):
            first = await app.command(
                "Call", Dialed="+36201234567", ApiExtension="5000", Url=f"{app.url}/start.php?id=1&x=%2525"
            )
            assert first.code == 200
            await app.wait_for_notification("CallConnected")
            for number in range(1, 7):
                await pbx.log.wait(Heard, partial(_is_prompt, number))
                call = next(iter(pbx.core.calls.active.values()))
                pbx.press(call, "1", Party.CALLEE)
                await app.log.wait(NotificationReceived, partial(_is_level, number))
            ours = [event.url for event in pbx.log.of(NotificationSent)]
            assert len(ours) == 7
            assert all("/cb/" in url and str(app.port) not in url for url in ours)
            targets = [event.target for event in app.log.of(NotificationReceived)]
            assert targets[0] == "/start.php?id=1&x=%2525"
            assert targets[1:] == [f"/menu.php?level={level}&name=Kov%C3%A1cs+%26+son" for level in range(1, 7)]

    asyncio.run(whole())


def test_a_fixed_document_of_the_vendor_comes_back_the_same_but_for_its_addresses(
    proxy: Start, backend: StartBackend
) -> None:
    vendor = (
        b'\r\n<?xml version="1.0" encoding="UTF-8"?>\r\n<Response>\r\n  <UserInput Repeat="true" Digits="4" '
        b'enteredUrl="http://127.0.0.1:%d/entered.php?reminder=1%%2526date=2"><InitialCommands><Speak>Code?</Speak>'
        b"</InitialCommands></UserInput>\r\n</Response>"
    )
    app = backend(answering(b"<Response/>"))
    page = vendor % app.port
    running = proxy(9, callbacks=MINE, apps=crm(backend(answering(page)).port))
    answer = running.notify("NotificationName=IncomingCall&CallId=1").body
    before, _, rest = answer.partition(b'enteredUrl="')
    address, _, after = rest.partition(b'"')
    assert page == before + b'enteredUrl="' + page.partition(b'enteredUrl="')[2].partition(b'"')[0] + b'"' + after
    running.notify("NotificationName=DtmfEntered&DtmfDigits=1234", address.decode().removeprefix(PUBLIC))
    assert app.requests[0].startswith(b"POST /entered.php?reminder=1%2526date=2 HTTP/1.1\r\n")
