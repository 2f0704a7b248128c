"""Where calls are, with PBXs that answer when the test says so."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.exchanges import Fault
from interceptor.gateway import affinity
from interceptor.gateway.affinity import Family, Whereabouts
from interceptor.gateway.clusters import ClusterRoute, Endpoint, Place, host_of, merged_pages
from interceptor.gateway.health import Health
from interceptor.gateway.http1 import Reply
from interceptor.settings import Address, Cluster, Deadlines, Each, Url
from tests.gateway.harness import settings_for

PATIENCE = Deadlines(10.0, 30.0)


def answer(*calls: str) -> Reply:
    items = "".join(f"<CallInfo><CallId>{call}</CallId></CallInfo>" for call in calls)
    body = f"<Response><Code>200</Code><ActiveCalls>{items}</ActiveCalls></Response>".encode()
    block: Any = None
    return Reply(200, b"200 OK", 1, block, body, reusable=True)


class Line:
    """A pool that keeps questions until the test answers them."""

    def __init__(self, port: int) -> None:
        self.address = Address(f"10.0.0.{port}", 7780)
        self.peer = ""
        self.connections = self.idle = self.queued = 0
        self.asked: list[Any] = []

    def send(self, errand: Any, data: bytes, patience: Deadlines) -> None:
        assert b"command=ListActiveCalls" in data
        assert patience.total <= affinity.ASK_SECONDS
        self.asked.append(errand)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def route(count: int, name: str = "pbx", **changes: Any) -> tuple[ClusterRoute, list[Line]]:
    urls = tuple(Url(f"10.0.0.{number}", 7780, "/") for number in range(1, count + 1))
    cluster = Cluster(name, urls, **{"each": Each.PBX, **changes})
    lines = [Line(number) for number in range(1, count + 1)]

    def nothing(*_: object) -> None: ...

    no_loop: Any = SimpleNamespace(call_later=nothing)
    endpoints = tuple(
        Endpoint(url, cluster, line, Health(1), PATIENCE, no_loop, nothing, nothing)  # type: ignore[arg-type]
        for url, line in zip(urls, lines, strict=True)
    )
    return ClusterRoute(cluster, endpoints), lines


def family(count: int = 2) -> tuple[Family, list[Place], list[Line], Clock]:
    made, lines = route(count)
    clock = Clock()
    return Family(made.places, PATIENCE, clock), list(made.places), lines, clock


def test_what_was_not_seen_for_long_is_forgotten_and_what_is_seen_is_not() -> None:
    known, (one, _), _, clock = family()
    known.put("a", one)
    clock.now += affinity.KEPT_SECONDS - 1
    assert known.place_of("a") is one
    clock.now += affinity.KEPT_SECONDS - 1
    assert known.place_of("a") is one
    clock.now += affinity.KEPT_SECONDS + 1
    assert known.place_of("a") is None
    assert known.counts() == {}


def test_the_table_has_a_bound_and_keeps_what_was_seen_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "CALLS_MOST", 3)
    known, (one, two), _, _ = family()
    for call in "abc":
        known.put(call, one)
    assert known.place_of("a") is one
    known.put("d", two)
    assert [call for call in "abcd" if known.place_of(call) is not None] == ["a", "c", "d"]
    assert known.counts() == {one: 2, two: 1}


def test_a_call_is_absent_only_when_every_pbx_has_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "ABSENT_MOST", 2)
    known, _, lines, clock = family()
    found: list[Place | None] = []
    known.locate("x", found.append)
    lines[0].asked.pop().replied(answer())
    lines[1].asked.pop().failed(Fault.TIMEOUT, sent=True)
    assert found == [None]
    assert not known.is_absent("x")
    for call in "xyz":
        known.locate(call, found.append)
        for line in lines:
            line.asked.pop().replied(answer())
    assert [known.is_absent(call) for call in "xyz"] == [False, False, True]  # the bound took the first two
    clock.now += affinity.ABSENT_SECONDS
    assert not known.is_absent("z")


def test_a_refusal_is_no_list() -> None:
    known, _, lines, _ = family()
    found: list[Place | None] = []
    known.locate("x", found.append)
    refusal = answer()
    refusal.body = b"<Response><Code>305</Code></Response>"
    lines[0].asked.pop().replied(refusal)
    broken = answer("x")
    broken.status = 500
    lines[1].asked.pop().replied(broken)
    assert found == [None]
    assert not known.is_absent("x")


def test_where_no_pbx_is_up_the_answer_comes_at_once() -> None:
    known, places, lines, _ = family()
    for place in places:
        for endpoint in place.endpoints:
            endpoint.failed("connect", "away")
    found: list[Place | None] = []
    known.locate("x", found.append)
    assert found == [None]
    assert not any(line.asked for line in lines)


def test_origins_have_a_bound_and_addresses_of_several_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "ORIGINS_MOST", 2)
    made, lines = route(2)
    knows = Whereabouts({"pbx": made}, PATIENCE, Clock())
    known = knows.family("pbx")
    assert known is not None
    for exchange in ("e1", "e2", "e3"):
        knows.sent(exchange, made.places[1])
    knows.notified("n1", ["a"], "10.9.9.9", "e1")
    knows.notified("n2", ["b"], "10.9.9.9", "e3")
    knows.notified("n3", ["c"], "10.9.9.9", "n2")  # a callback out of the answer to n2
    knows.notified("n4", ["d"], "10.0.0.1", "")
    lines[0].peer = lines[1].peer = "10.7.7.7"
    knows.notified("n5", ["e"], "10.7.7.7", "")
    places = [known.place_of(call) for call in "abcde"]
    assert places == [None, made.places[1], made.places[1], made.places[0], None]
    assert knows.counts() == {made.places[1]: 2, made.places[0]: 1}


def test_one_pbx_needs_no_family() -> None:
    one, _ = route(1)
    ways, _ = route(2, "ways", each=Each.WAY)
    knows = Whereabouts({"pbx": one, "ways": ways}, PATIENCE, Clock())
    assert not knows.several
    assert knows.family("pbx") is None


def test_clusters_beside_each_other_are_one_family() -> None:
    one, _ = route(1)
    new, _ = route(2, "new", each=Each.WAY, beside="pbx")
    other, _ = route(1, "other")
    knows = Whereabouts({"new": new, "pbx": one, "other": other}, PATIENCE, Clock())
    assert knows.family("new") is knows.family("pbx")
    known = knows.family("pbx")
    assert known is not None
    assert known.places == (*one.places, *new.places)
    assert knows.family("other") is None


EVENTS = st.lists(st.tuples(st.sampled_from(["begin", "ask", "answer", "fail"]), st.integers(0, 5)), max_size=60)


@given(EVENTS)
def test_every_asker_is_told_once_and_a_call_that_was_there_is_found(events: list[tuple[str, int]]) -> None:
    known, places, lines, _ = family(3)
    calls: list[list[str]] = [[], [], []]
    answers: dict[int, list[str]] = {}  # what each PBX has in the list that it will answer with
    told: dict[int, list[Place | None]] = {}
    expected: dict[int, Place] = {}
    failed = False

    def note() -> None:
        for number, line in enumerate(lines):
            if line.asked and number not in answers:
                answers[number] = list(calls[number])  # a PBX lists what it has when it is asked

    def end(number: int, how: Callable[[Any, list[str]], None]) -> None:
        if lines[number].asked:
            errand, listed = lines[number].asked.pop(), answers.pop(number)
            how(errand, listed)
            note()

    for what, number in events:
        at = number % 3
        if what == "begin":
            calls[at].append(f"c{at}-{len(calls[at])}")
        elif what == "ask" and calls[at]:
            asker = len(told)
            told[asker] = []
            expected[asker] = places[at]
            known.locate(calls[at][-1], told[asker].append)
            note()
        elif what == "answer":
            end(at, lambda errand, listed: errand.replied(answer(*listed)))
        elif what == "fail":
            failed = failed or bool(lines[at].asked)
            end(at, lambda errand, _: errand.failed(Fault.TIMEOUT, sent=True))
    while any(line.asked for line in lines):
        for number in range(3):
            end(number, lambda errand, listed: errand.replied(answer(*listed)))
    for asker, found in told.items():
        assert len(found) == 1
        assert found[0] is expected[asker] or (failed and found[0] is None)


def test_pages_of_workers_are_one_page() -> None:
    made, _ = route(2)
    first, second = [made.page({})], [made.page({made.places[1]: 3})]
    second[0]["endpoints"][0] |= {"up": False, "why": "connect", "busy": 2, "draining": True}
    whole = merged_pages([first, second])[0]["endpoints"]
    assert [(each["up"], each["why"], each["busy"], each["draining"], each["calls"]) for each in whole] == [
        (False, "connect", 2, False, 0),
        (True, "", 0, False, 3),
    ]


def test_an_endpoint_is_named_by_number_or_address(tmp_path: Any) -> None:
    settings = settings_for(tmp_path, [1234, 5678])
    assert host_of(settings, "pbx", "2") == "127.0.0.1:5678" == host_of(settings, "pbx", "127.0.0.1:5678")
    assert [host_of(settings, "pbx", each) for each in ("0", "3", "", "5678")] == [""] * 4
    assert host_of(settings, "other", "1") == ""
