"""Whatever messages come in whatever order: the fold stays whole and bounded, and no exact join is wrong."""

from collections import Counter
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from bench.calls import Mix, play
from interceptor.calls import Bounds, Call, Calls, Closing, How, Sighting, State, derived
from interceptor.calls.matching import MOST_OTHERS
from interceptor.calls.states import PRESUMED
from interceptor.values import Kind, Verdict

COMMANDS = st.sampled_from(("Call", "Hangup", "Hold", "Unhold", "BlindTransfer", "AttendedTransfer", "Play"))
NOTIFICATIONS = st.sampled_from(
    ("RoutingInterception", "CallChanged", "IncomingCall", "CallConnected", "DtmfEntered", "Error", "", "Unheard")
)
STATES = st.sampled_from(
    ("", "Ringing", "Answered", "InCall", "Hold", "Completed", "Transferred", "Calling", "NoAnswer")
)
IDS = st.sampled_from(("", "X", "Y", "Z"))
NUMBERS = st.sampled_from(("", "1", "2", "***"))
EXCHANGES = st.integers(0, 30).map("e{}".format)


@st.composite
def sightings(draw: st.DrawFn, *, most: int = 25) -> list[Sighting]:
    """Messages in the order of their times, each with an exchange of its own; most of them with their ends."""
    found = []
    at = 1000.0
    for number in range(draw(st.integers(0, most))):
        at += draw(st.sampled_from((0.0, 0.01, 1.0, 5.0, 70.0, 4000.0)))
        kind = draw(st.sampled_from((Kind.COMMAND, Kind.NOTIFICATION, Kind.NOTIFICATION)))
        name = draw(COMMANDS if kind is Kind.COMMAND else NOTIFICATIONS)
        sighting = Sighting(
            f"e{number}",
            at,
            kind,
            name,
            app=draw(st.sampled_from(("", "crm"))),
            call_id="" if name == "Call" else draw(IDS),
            other_id=draw(IDS) if name == "AttendedTransfer" else "",
            origin=draw(st.one_of(st.just(""), EXCHANGES)) if kind is Kind.NOTIFICATION else "",
            caller=draw(NUMBERS),
            dialled=draw(NUMBERS),
            state=draw(STATES) if kind is Kind.NOTIFICATION else "",
            verdict=draw(st.sampled_from((Verdict.ALLOW, Verdict.ALLOW, Verdict.DENY))),
        )
        if draw(st.integers(0, 3)):
            code = draw(st.sampled_from((None, 200, 200, 401, 601, 904))) if kind is Kind.COMMAND else None
            ended = at + draw(st.sampled_from((0.0, 0.005, 3.0)))
            outcome = draw(st.sampled_from(("answered", "dial_plan", "lost")))
            sighting.closing = Closing(sighting.exchange, ended, outcome, code)
        found.append(sighting)
    return found


def fed(messages: Iterable[Sighting], bounds: Bounds | None = None) -> Calls:
    calls = Calls(bounds)
    calls.feed(messages)
    return calls


def every(calls: Calls) -> list[Call]:
    return [*calls.open, *calls.recent]


def shape(calls: Calls) -> set[tuple[object, ...]]:
    """What the calls are, without the numbers that the fold gave them."""
    return {
        (
            call.id,
            tuple(call.ids),
            call.state,
            call.cause,
            call.began,
            call.last,
            *((passage.sighting.exchange, passage.how) for passage in call.passages),
        )
        for call in every(calls)
    }


def remarks(calls: Calls) -> set[tuple[object, ...]]:
    return {(call.id, frozenset(remark.text for remark in call.remarks)) for call in every(calls)}


@given(messages=sightings())
def test_a_call_is_what_its_messages_make_of_it(messages: list[Sighting]) -> None:
    for call in every(fed(messages)):
        if call.cause in PRESUMED or any("goes on" in remark.text for remark in call.remarks):
            continue
        again = derived(call.passages)
        assert (again.state, again.cause, again.ids, again.caller, again.dialled, again.routed_to) == (
            call.state,
            call.cause,
            call.ids,
            call.caller,
            call.dialled,
            call.routed_to,
        )


def between(*told: tuple[str, dict[str, object]]) -> list[Sighting]:
    """Messages at one instant between the same two numbers, but for what they say otherwise."""
    return [
        Sighting(
            f"e{number}",
            kind=Kind.COMMAND if name == "Call" else Kind.NOTIFICATION,
            name=name,
            **({"at": 1000.0, "caller": "1", "dialled": "1"} | fields),  # type: ignore[arg-type]
        )
        for number, (name, fields) in enumerate(told)
    ]


@st.composite
def crowds(draw: st.DrawFn) -> list[Sighting]:
    """Many messages between few numbers in a short time: nearly all could be about each other's calls."""
    names = ("Call", "RoutingInterception", "CallChanged", "Error", "IncomingCall")
    told = []
    at = 1000.0
    for name in draw(st.lists(st.sampled_from(names), max_size=50)):
        at += draw(st.sampled_from((0.0, 0.0, 0.01, 1.0, 2.5)))
        fields: dict[str, object] = {"at": at, "dialled": draw(st.sampled_from(("1", "1", "1", "2")))}
        if name != "Call":
            fields["origin"] = draw(st.one_of(st.just(""), st.just(""), EXCHANGES))
        if name not in {"Call", "RoutingInterception"}:
            fields["call_id"] = draw(st.sampled_from(("", "U", "V", "W", "X", "Y", "Z")))
        if name == "CallChanged":
            fields["state"] = draw(st.sampled_from(("", "Ringing", "Answered", "Busy", "Transferred")))
        told.append((name, fields))
    messages = between(*told)
    for sighting in messages:
        if draw(st.booleans()):
            code = 200 if sighting.kind is Kind.COMMAND else None
            ended = sighting.at + draw(st.sampled_from((0.0, 0.005, 3.0)))
            sighting.closing = Closing(sighting.exchange, ended, "answered", code)
    return messages


ENDS_AT_ONCE = (("RoutingInterception", {}), ("Error", {"call_id": "X"}))
AFTER_SEVEN_WITHOUT_NUMBERS = (*((("Call", {"caller": "", "dialled": ""}),) * 7), *ENDS_AT_ONCE)
GOES_ELSEWHERE_BEFORE = between(
    ("Call", {}), ("CallChanged", {"origin": "e0", "dialled": "2"}), ("RoutingInterception", {"dialled": "2"})
)
AFTER_ITS_CALLBACK = between(
    ("CallChanged", {"origin": "e2", "caller": "", "dialled": ""}),
    ("RoutingInterception", {"at": 1004.0}),
    ("CallChanged", {"at": 1005.0, "call_id": "X"}),
)
OF_AN_ORIGIN_THAT_IS_NOT_KNOWN = between(
    ("Call", {}), ("RoutingInterception", {"origin": "e3"}), ("Call", {}), ("RoutingInterception", {"origin": "e3"})
)
AS_MANY_AS_ARE_LOOKED_THROUGH = between(*(("Call", {}), ("RoutingInterception", {})) * (MOST_OTHERS + 1))


@example(messages=OF_AN_ORIGIN_THAT_IS_NOT_KNOWN)
@given(messages=st.one_of(sightings(), crowds()))
def test_every_call_is_found_by_its_ids_and_each_message_stands_once_in_a_call(messages: list[Sighting]) -> None:
    calls = fed(messages)
    for call in every(calls):
        assert call.is_open == (call in list(calls.open))
        assert call.passages
        for call_id in call.ids:
            owner = calls.find(call_id)
            assert owner is not None
            assert call_id in owner.ids
        exchanges = [passage.sighting.exchange for passage in call.passages]
        assert len(set(exchanges)) == len(exchanges)
        assert {call.state is State.ENDED, call.ended is not None} in ({True}, {False})
    stands = Counter(passage.sighting.exchange for call in every(calls) for passage in call.passages)
    twice = {
        sighting.exchange for sighting in messages if sighting.other_id
    }  # in the second call that it names as well
    assert {exchange for exchange, times in stands.items() if times > 1} <= twice


@example(messages=between(*ENDS_AT_ONCE))
@example(messages=between(*AFTER_SEVEN_WITHOUT_NUMBERS))
@example(messages=GOES_ELSEWHERE_BEFORE)
@example(messages=AFTER_ITS_CALLBACK)
@example(messages=OF_AN_ORIGIN_THAT_IS_NOT_KNOWN)
@example(messages=AS_MANY_AS_ARE_LOOKED_THROUGH)
@given(messages=st.one_of(sightings(), crowds()))
def test_a_message_that_joins_at_once_joins_as_one_that_begins_a_call_first(messages: list[Sighting]) -> None:
    assert partition(fed(messages)) == partition(fed_slowly(messages))
    messages = apart(messages)
    quick, slow = fed(messages), fed_slowly(messages)
    assert partition(quick) == partition(slow)
    assert shape(quick) == shape(slow)
    assert remarks(quick) == remarks(slow)


def partition(calls: Calls) -> set[tuple[object, ...]]:
    return {
        (call.id, call.state, frozenset(passage.sighting.exchange for passage in call.passages))
        for call in every(calls)
    }


def fed_slowly(messages: Iterable[Sighting]) -> Calls:
    """The same where each message begins a call of its own before it joins."""
    slow = Calls()
    at_once = slow._host

    def host(sighting: Sighting) -> Call | None:
        again = not sighting.call_id and sighting.state not in {"", "Calling"}  # a further attempt always joins at once
        return at_once(sighting) if again else None

    slow._host = host  # type: ignore[method-assign]
    slow.feed(messages)
    return slow


def apart(messages: Iterable[Sighting]) -> list[Sighting]:
    """The same with no two at one instant: these have no order of their own."""
    found = []
    for number, sighting in enumerate(messages):
        at = sighting.at + number * 0.0001
        closing = sighting.closing
        if closing is not None:
            closing = replace(closing, at=max(closing.at, at) + 0.00001 + number * 0.000001)
        found.append(replace(sighting, at=at, closing=closing))
    return found


@given(messages=sightings(), order=st.randoms(use_true_random=False))
def test_the_order_in_which_messages_are_handed_over_does_not_matter(messages: list[Sighting], order: object) -> None:
    messages = apart(messages)
    shuffled = list(messages)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert shape(fed(shuffled)) == shape(fed(messages))


@given(messages=sightings())
def test_messages_with_one_id_are_one_call_while_it_lasts(messages: list[Sighting]) -> None:
    for sighting in messages:
        sighting.other_id = ""
    calls = fed(messages)
    for call in every(calls):
        for passage in call.passages:
            if passage.sighting.call_id and passage.how in {How.CALL_ID, How.FIRST}:
                assert passage.sighting.call_id in call.ids


@given(messages=sightings(most=60))
def test_nothing_grows_beyond_its_bounds(messages: list[Sighting]) -> None:
    bounds = Bounds(open=3, recent=2, passages=4, idle=100, setup=10)
    calls = fed(messages, bounds)
    calls.tick(calls.now)
    assert calls.open_count <= bounds.open
    ended = list(calls.recent)
    assert len(ended) <= bounds.recent
    kept = every(calls)
    exchanges = sum(2 * len(call.passages) for call in kept)
    assert len(calls._by_exchange) <= exchanges
    assert len(calls._by_id) <= sum(len(call.ids) for call in kept)
    assert len(calls._matching._keys) <= len(kept)
    for call in kept:
        assert len(call.passages) <= bounds.passages


def test_of_overlapping_calls_between_the_same_numbers_no_exact_join_is_wrong() -> None:
    for pairs, numbers, precision in ((100, None, 0.97), (10, None, 0.9), (1, None, 0.0), (100, 4, 0.97)):
        out = play(Mix(calls=600, pairs=pairs, numbers=numbers))
        assert out.exact_wrong == 0
        assert out.precision >= precision
        assert out.inferred == 0 or pairs == 1 or out.found > 0.5
