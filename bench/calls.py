"""Plays overlapping calls through the fold of ``interceptor/calls``: how well messages are joined, and what it costs.

``python -m bench.calls [--calls N] [--rate PER_SECOND] [--pairs N] …`` prints a line for each of several mixes; with
options, for that one alone. No sockets: audit records are made as a live system makes them, with late, repeated and
missing messages, and the truth is known for each. *Wrong exact joins* must be 0; the precision of inferred ones is what
it is.
"""

import argparse
import gc
import random
import sys
from collections import Counter
from collections.abc import Iterator
from time import thread_time

from msgspec import Struct

from interceptor.audit.masking import Masker
from interceptor.audit.record import DecisionRecord, Instants, SettlementRecord
from interceptor.calls import Bounds, Calls, How
from interceptor.settings import Masking
from interceptor.sightings import Follower
from interceptor.values import Kind, Verdict
from interceptor.wire.numbers import NumberReader

BEGIN = 1_800_000_000.0
type Made = DecisionRecord | SettlementRecord


class Mix(Struct, frozen=True):
    """What is played: so many calls, begun at this rate, between so many different pairs of numbers."""

    calls: int = 10_000
    rate: float = 100.0
    pairs: int = 10_000
    numbers: int | None = None  # how many digits masking leaves, None: all
    disorder: float = 0.02  # the share of messages that come late, twice or not at all
    seed: int = 1


class Outcome(Struct, frozen=True):
    """How it went. ``exact_wrong`` and ``inferred_wrong`` are messages in the record of another call than theirs."""

    records: int
    seconds: float
    calls: int
    exact: int
    exact_wrong: int
    inferred: int
    inferred_wrong: int
    without_id: int
    at_home: int
    ambiguous: int
    refuted: int

    @property
    def precision(self) -> float:
        """The share of inferred joins that are right."""
        return 1.0 if not self.inferred else 1 - self.inferred_wrong / self.inferred

    @property
    def found(self) -> float:
        """The share of the messages without an id that came to their call."""
        return 0.0 if not self.without_id else self.at_home / self.without_id


class Stage:
    """Makes the records of calls; the truth of each exchange is kept beside them."""

    def __init__(self, mix: Mix) -> None:
        self._mix = mix
        self._dice = random.Random(mix.seed)
        self._masker = Masker(Masking(mix.numbers))
        self._instants = Instants()
        self._timed: list[tuple[float, int, Made]] = []
        self.truth: dict[str, int] = {}
        self.without_id: set[str] = set()

    def records(self) -> list[Made]:
        """The records of all calls, in the order of their times."""
        mix = self._mix
        for number in range(mix.calls):
            pair = self._dice.randrange(mix.pairs)
            at = BEGIN + number / mix.rate + self._dice.random() / mix.rate
            (self._outgoing, self._incoming, self._between_phones)[number % 3](number, pair, at)
        self._timed.sort(key=lambda timed: timed[:2])
        return [record for _, _, record in self._timed]

    def _outgoing(self, call: int, pair: int, at: float) -> None:
        caller, dialled, call_id = "5000", f"+3620{pair:07}", f"c{call}"
        begun = self._exchange(call, at, Kind.COMMAND, "Call", caller, dialled, {"dialed": dialled}, code=200)
        at = self._routed(call, at + self._soon(), caller, dialled)
        at = self._changed(call, at + self._soon(), "Ringing", caller, dialled)
        at = self._changed(call, at + self._dice.uniform(1, 20), "Answered", caller, dialled)
        at = self._changed(call, at + self._soon(), "InCall", caller, dialled)
        values = {"callid": call_id, "x-caller": caller, "x-callee": dialled, "x-callstate": "InCall"}
        self._exchange(call, at + self._soon(), Kind.NOTIFICATION, "CallConnected", "", "", values, origin=begun)
        self._changed(call, at + self._dice.uniform(60, 300), "Completed", caller, dialled)

    def _incoming(self, call: int, pair: int, at: float) -> None:
        caller, dialled, call_id = f"+3630{pair:07}", "5000", f"c{call}"
        at = self._routed(call, at, caller, dialled)
        at = self._changed(call, at + self._soon(), "Ringing", caller, dialled)
        values = {"callid": call_id, "x-caller": caller, "x-callee": dialled}
        menu = self._exchange(call, at + self._soon(), Kind.NOTIFICATION, "IncomingCall", "", "", values)
        at = self._changed(call, at + self._dice.uniform(0.05, 0.2), "Answered", caller, dialled)
        for _ in range(self._dice.randrange(4)):
            at += self._dice.uniform(2, 20)
            digits = {"callid": call_id, "dtmfdigits": "1"}
            menu = self._exchange(call, at, Kind.NOTIFICATION, "DtmfEntered", "", "", digits, origin=menu)
        self._changed(call, at + self._dice.uniform(60, 300), "Completed", caller, dialled)

    def _between_phones(self, call: int, pair: int, at: float) -> None:
        caller, dialled = f"+3670{pair:07}", "2301"
        at = self._routed(call, at, caller, dialled, "2301")
        at = self._changed(call, at + self._soon(), "Ringing", caller, "2301")
        if self._dice.random() < 0.3:
            at += self._dice.uniform(10, 20)
            at = self._routed(call, at, caller, dialled, "2405", last="2301", state="NoAnswer")
            at += self._soon()
        at = self._changed(call, at + self._dice.uniform(1, 20), "Answered", caller, "2405")
        self._changed(call, at + self._dice.uniform(60, 300), "Completed", caller, dialled)

    def _soon(self) -> float:
        return self._dice.uniform(0.001, 0.03)

    def _routed(
        self, call: int, at: float, caller: str, dialled: str, to: str = "", *, last: str = "", state: str = "Calling"
    ) -> float:
        values = {"callerid": caller, "originaldialednumber": dialled, "lastcallstate": state}
        values["lastdialednumber"] = last or dialled
        exchange = self._exchange(call, at, Kind.NOTIFICATION, "RoutingInterception", caller, dialled, values, route=to)
        if exchange:
            self.without_id.add(exchange)
        return at + 0.02

    def _changed(self, call: int, at: float, state: str, caller: str, callee: str) -> float:
        values = {"callid": f"c{call}", "x-callstate": state, "x-source": caller, "x-destination": callee}
        chance = self._dice.random()
        if chance < self._mix.disorder / 3:
            return at  # missing
        late = self._dice.uniform(0, 0.5) if chance < self._mix.disorder * 2 / 3 else 0.0
        self._exchange(call, at + late, Kind.NOTIFICATION, "CallChanged", "", "", values)
        if self._mix.disorder * 2 / 3 < chance < self._mix.disorder:
            self._exchange(call, at + 0.1, Kind.NOTIFICATION, "CallChanged", "", "", values)
        return at

    def _exchange(
        self,
        call: int,
        at: float,
        kind: Kind,
        name: str,
        caller: str,
        dialled: str,
        values: dict[str, str],
        *,
        code: int | None = None,
        origin: str = "",
        route: str = "",
    ) -> str:
        exchange = f"e{len(self.truth):x}"
        self.truth[exchange] = call
        if kind is Kind.COMMAND:
            self.without_id.add(exchange)
        hide = self._masker.number
        decision = DecisionRecord(
            0, self._instants.text(at), exchange, "w0", "l", kind, name, "crm", "10.0.0.1", "POST", "/",
            Verdict.ALLOW, "default", "revision", caller=hide(caller), number=hide(dialled), parameters=values,
            origin=origin,
        )  # fmt: skip
        self._timed.append((at, len(self._timed), decision))
        ended = at + self._dice.uniform(0.002, 0.01)
        if route:
            verb = DecisionRecord(
                0, self._instants.text(at), exchange, "w0", "l", Kind.VERB, "Route", "crm", "", "", "",
                Verdict.ALLOW, "default", "revision", number=hide(route), parameters={"destination": route},
            )  # fmt: skip
            self._timed.append((ended, len(self._timed), verb))
        settlement = SettlementRecord(0, self._instants.text(ended), exchange, "w0", "answered", "pbx:80", code)
        if route:
            settlement.answered = ("Route",)
        self._timed.append((ended, len(self._timed), settlement))
        return exchange


def play(mix: Mix) -> Outcome:
    """Play one mix through the fold."""
    stage = Stage(mix)
    records = stage.records()
    most = mix.calls * 4
    calls = Calls(Bounds(open=most, recent=most, setup=1e9, idle=1e9))
    follower = Follower(calls, NumberReader("HU", ("2xxx", "5xxx")), Masking(mix.numbers))
    follow = follower.follow
    gc.collect()
    gc.disable()
    began = thread_time()
    for record in records:
        follow(record)
    seconds = thread_time() - began
    gc.enable()
    return _judge(calls, stage, len(records), seconds)


def _judge(calls: Calls, stage: Stage, records: int, seconds: float) -> Outcome:
    told: Counter[tuple[bool, bool]] = Counter()
    at_home = 0
    all_calls = list(calls.open) + list(calls.recent)
    for call in all_calls:
        truth = int(call.ids[0][1:]) if call.ids else stage.truth[call.began_as]
        for passage in call.passages:
            right = stage.truth[passage.sighting.exchange] == truth
            told[passage.how is How.NUMBERS, right] += 1
            at_home += bool(call.ids) and right and passage.sighting.exchange in stage.without_id
    return Outcome(
        records,
        seconds,
        len(all_calls),
        told[False, True] + told[False, False],
        told[False, False],
        told[True, True] + told[True, False],
        told[True, False],
        len(stage.without_id),
        at_home,
        calls.counts.ambiguous,
        calls.counts.refuted,
    )


MIXES: tuple[tuple[str, Mix], ...] = (
    ("every pair its own", Mix(pairs=1_000_000)),
    ("1,000 pairs", Mix(pairs=1_000)),
    ("100 pairs", Mix(pairs=100)),
    ("10 pairs", Mix(pairs=10)),
    ("one pair", Mix(pairs=1)),
    ("100 pairs, 10 calls a second", Mix(pairs=100, rate=10.0)),
    ("1,000 pairs, four digits", Mix(pairs=1_000, numbers=4)),
    ("every pair its own, four digits", Mix(pairs=1_000_000, numbers=4)),
)


def lines(mixes: tuple[tuple[str, Mix], ...], wrong: list[int]) -> Iterator[str]:
    """The table; ``wrong`` gets the number of wrong exact joins of each mix."""
    yield f"{'mix':34}{'calls':>8}{'wrong exact':>13}{'inferred':>10}{'precision':>11}{'found':>8}{'µs a record':>13}"
    for name, mix in mixes:
        out = play(mix)
        wrong.append(out.exact_wrong)
        yield (
            f"{name:34}{mix.calls:>8}{out.exact_wrong:>13}{out.inferred:>10}{out.precision:>11.2%}{out.found:>8.1%}"
            f"{out.seconds / out.records * 1e6:>13.2f}"
        )


def main(arguments: list[str]) -> int:
    """Print the table; 1 where an exact join is wrong."""
    parser = argparse.ArgumentParser(prog="bench.calls", description=(__doc__ or "").partition("\n")[0])
    defaults = Mix()
    parser.add_argument("--calls", type=int, default=defaults.calls)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--numbers", type=int)
    options = parser.parse_args(arguments)
    mixes = tuple((name, Mix(options.calls, mix.rate, mix.pairs, mix.numbers)) for name, mix in MIXES)
    if options.pairs is not None or options.rate is not None:
        own = Mix(options.calls, options.rate or defaults.rate, options.pairs or defaults.pairs, options.numbers)
        mixes = (("as asked", own),)
    wrong: list[int] = []
    for line in lines(mixes, wrong):
        print(line, flush=True)
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
