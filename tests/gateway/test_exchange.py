"""Commands and notifications through the running gateway: what passes, what is changed, what is answered."""

from collections.abc import Callable

from tests.gateway.harness import OK_XML, Backend, Proxy, Script, answering

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

RULES = """
rules:
  - name: no-premium
    on: Call
    when: {number: {class: premium}}
    deny: {code: 306, message: "Premium numbers are not dialled"}
  - name: main-line
    on: Call
    when: {number: {prefix: "+3620"}}
    rewrite: {set: {CallerId: "+3612222222"}}
  - name: guard
    on: RoutingInterception
    when: {OriginalDialedNumber: "1000"}
    answer: [{Route: {Destination: "1099"}}]
  - name: rest
    on: command
    allow: true
"""


def test_a_command_that_no_rule_touches_passes_byte_for_byte(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    client = running.client()
    client.send(
        b"GET /?comMand=ListActiveCalls&X=%2b+a%zz HTTP/1.1\r\n"
        b"HOST: Pbx.Test:7780\r\nx-odd:  two  \r\nAccept: */*\r\n\r\n"
    )
    answer = client.read()
    head = pbx.wait_for(1)[0].split(b"\r\n")
    assert head[:4] == [
        b"GET /?comMand=ListActiveCalls&X=%2b+a%zz HTTP/1.1",
        b"HOST: Pbx.Test:7780",
        b"x-odd:  two  ",
        b"Accept: */*",
    ]
    assert answer.body == OK_XML
    assert answer.headers["x-interceptor-exchange"] == running.decisions()[0].exchange


def test_a_refused_command_never_reaches_the_pbx(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, rules=RULES)
    answer = running.get("/?command=Call&Dialed=%2B3690123456")
    assert (answer.status, answer.code) == (200, 306)
    assert b"Premium numbers are not dialled" in answer.body
    assert pbx.requests == []
    assert running.decisions()[0].rule == "no-premium"


def test_a_rewritten_command_arrives_with_its_new_value_and_all_else_as_it_was(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, rules=RULES)
    running.get("/?command=Call&Dialed=%2b36201234567&CallerId=1000&Url=http%3a%2f%2fapp%2fx%3fa%3d%2526")
    line = pbx.wait_for(1)[0].split(b"\r\n")[0]
    assert line == (
        b"GET /?command=Call&Dialed=%2b36201234567&CallerId=%2B3612222222&Url=http%3a%2f%2fapp%2fx%3fa%3d%2526 HTTP/1.1"
    )


def test_a_notification_goes_to_its_app_and_the_answer_comes_back(proxy: Start, backend: StartBackend) -> None:
    app = backend(answering(b"\r\n<Response><Speak>Hi</Speak></Response>", b"Content-Type: text/html\r\n"))
    running = proxy(9, app.port)
    answer = running.notify("NotificationName=IncomingCall&CallId=7Kq2pX", "/in?tenant=7")
    assert app.wait_for(1)[0].startswith(b"POST /pbx?tenant=7 HTTP/1.1\r\n")
    assert app.requests[0].endswith(b"\r\n\r\nNotificationName=IncomingCall&CallId=7Kq2pX")
    assert answer.raw.startswith(b"HTTP/1.0 200 OK\r\n")
    assert answer.body == b"\r\n<Response><Speak>Hi</Speak></Response>"


def test_a_rule_answers_a_notification_in_place_of_the_app(proxy: Start, backend: StartBackend) -> None:
    app = backend(answering(b"<Response/>"))
    running = proxy(9, app.port, rules=RULES)
    answer = running.notify("NotificationName=RoutingInterception&OriginalDialedNumber=1000&CallerID=2301")
    assert b'<Route Destination="1099"' in answer.body
    assert app.requests == []


def test_a_command_whose_body_the_pbx_could_read_otherwise_is_refused(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    body = b"command=Call&Dialed=0690123456"
    for headers in (
        b"Content-Type: text/plain\r\n",
        b"Content-Type:\r\n",
        b"Content-Type: application/x-www-form-urlencoded; charset=utf-16\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n",
    ):
        head = b"POST /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n%bContent-Length: %d\r\n\r\n"
        answer = running.client().send(head % (headers, len(body)) + body).read()
        assert answer.code == 302
    assert pbx.requests == []


def test_the_query_of_a_notification_is_the_apps_own_and_never_what_the_pbx_says(
    proxy: Start, backend: StartBackend
) -> None:
    app = backend(answering(b"<Response/>"))
    running = proxy(9, app.port, rules=RULES)
    running.notify("NotificationName=RoutingInterception&OriginalDialedNumber=2000", "/r?OriginalDialedNumber=1000")
    assert app.wait_for(1)[0].startswith(b"POST /pbx?OriginalDialedNumber=1000 HTTP/1.1\r\n")
