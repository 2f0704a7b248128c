r"""### `limit`

Counts the messages that come to the rule, and goes on reading with its other actions while they are within the limit.
What is over it gets `otherwise` instead.

| key | value | means |
| --- | --- | --- |
| `key` | a word or a list: `app`, `number`, `caller`, `class`, `country`, `source`, `name`, a parameter (`ApiExtension`, `other:x-tenant`) | messages that agree in all of these are counted together; without it (or with `rule`) all that come to the rule |
| `rate` | `5/s`, `300/m`, `1000/h`, `5000/d` | so many in that time, on average |
| `burst` | a whole number | how many may come at once; without it, the number in `rate` |
| `concurrency` | a whole number | how many exchanges may be under way at the same time |
| `otherwise` | `allow`, `deny`, `answer`, `rewrite`, `reroute`, `tag` | what happens to the rest; without it commands are denied with code 306 and `Too many requests`, notifications are answered with an empty `<Response/>`, verbs are taken out |

`rate` is a token bucket of `burst` tokens, which is full at first and gets a new one as often as the rate says; a message
takes one. So `300/m` with its burst of 300 lets 300 pass at once and then five a second, up to 600 in the first minute;
`burst: 1` spaces them evenly. With `rate` and `concurrency` both must hold. A message over the limit takes nothing.

Every message that comes to the rule is counted, also one that a rule below denies; to leave those out, write the limit
below the denials. What a message does not have counts as empty: all messages without a number have one meter. A slot of
`concurrency` is taken when the message is decided and free when its exchange has ended, however it ended. Nobody hears
when a verb has been run, so `concurrency` holds for commands and notifications only.

An `otherwise` without `allow`, `deny` or `answer` lets the reading go on below. A limit in shadow mode counts as it
would and stops nobody; the record's `limited` and `interceptor_limited_messages_total` tell what it would have stopped.
A reload keeps the meters of a rule whose name and limit stay. All workers count together.

There is room for about 65,000 meters at a time; one that is back at its full burst takes no room. Where there is none
left, the meter nearest to that is forgotten for a new one, so a sender who invents keys can win back one burst and
nothing more; where exchanges are under way on all that could make room, a message is over the limit. Both are counted in
`interceptor_meters_lost_total`. Emergency numbers are never limited, rules that would are refused: leave them out by
`when`, or allow them above.

    - name: five-calls-a-second-and-twenty-at-once
      on: Call
      when: {number: {not: {class: emergency}}}
      limit:
        key: app
        rate: 5/s
        burst: 10
        concurrency: 20
        otherwise: {deny: {code: 306, message: "Too many calls of {{app}}"}}
"""  # noqa: D400, D415, E501 - a page of the manual

import re
from typing import Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.actions import allow, answer, deny, reroute, rewrite, tag
from interceptor.policy.actions.outcome import EVERY_KIND, Action, Outcome, together
from interceptor.policy.columns import Column
from interceptor.policy.grammar import Reading
from interceptor.policy.meters import Meter
from interceptor.policy.placeholders import Value, read_value
from interceptor.policy.shapes import TEXT, Shape, Shapes, closed, described, listed, rows, whole
from interceptor.values import Facts, Kind

KEY: Final = "limit"
_KEYS: Final = ("key", "rate", "burst", "concurrency", "otherwise")
_OTHERWISE: Final = {module.KEY: module for module in (allow, deny, answer, rewrite, reroute, tag)}
_RATE: Final = re.compile(r"([0-9]{1,9})\s*/\s*(s|m|h|d)")
_NANOSECONDS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_MOST: Final = 1_000_000
_LONGEST: Final = 366 * _NANOSECONDS["d"]
_TOO_MANY: Final = deny.Deny(deny.CODE, "Too many requests")


class Limit(Struct, frozen=True):
    """Let so many messages through and do ``otherwise`` with the rest.

    ``interval`` is in nanoseconds and 0 where no rate is limited, ``concurrency`` is 0 where that is not.
    """

    key: tuple[Value, ...] = ()
    interval: int = 0
    burst: int = 1
    concurrency: int = 0
    otherwise: tuple[Action, ...] = (_TOO_MANY,)

    @property
    def kinds(self) -> frozenset[Kind]:
        for action in self.otherwise:
            if action.ends:
                return action.kinds
        return EVERY_KIND

    @property
    def ends(self) -> bool:
        """It may, for messages over the limit; within it the reading goes on."""
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return together(self.otherwise)

    def act(self, outcome: Outcome) -> None:
        """Within the limit, nothing; what is over it gets ``otherwise`` from the compiled set."""

    def key_of(self, facts: Facts) -> tuple[str, ...]:
        """What a message counts under."""
        return tuple([value.of(facts) for value in self.key])

    def meter(self, rule: str) -> Meter:
        """What it counts with in the rule of that name; equal limits of one rule have one meter."""
        words = (value.name for value in self.key)
        identity = repr((rule, *words, self.interval, self.burst, self.concurrency)).encode()
        return Meter(identity, self.interval, self.burst, self.concurrency)


def read(node: Node, reading: Reading) -> Limit | None:
    """The action under ``limit``."""
    problems = reading.problems
    entries = document.fields(node, _KEYS, problems, "`limit`")
    if not isinstance(node, Fields):
        return None
    rate, burst, concurrency = entries.get("rate"), entries.get("burst"), entries.get("concurrency")
    if rate is None and concurrency is None:
        problems.add(node.place, "`limit` should have one of `rate`, `concurrency`", "missing_key")
        return None
    count, interval = (1, 0) if rate is None else _rate(rate, reading)
    if burst is not None:
        if rate is None:
            problems.add(burst.place, "`burst` stands beside no `rate`", "burst_alone")
        count = document.whole_number(burst, problems, "`burst`", least=1, most=_MOST) or 1
        if count * interval > _LONGEST:
            problems.add(burst.place, "a `burst` should come back within a year at this `rate`", "burst_too_long")
    most = 0
    if concurrency is not None:
        most = document.whole_number(concurrency, problems, "`concurrency`", least=1, most=_MOST) or 0
    otherwise = entries.get("otherwise")
    actions = (_TOO_MANY,) if otherwise is None else _read_otherwise(otherwise, reading)
    return Limit(_read_key(entries.get("key"), reading), interval, count, most, actions)


def _rate(node: Node, reading: Reading) -> tuple[int, int]:
    """The number in the rate, and the nanoseconds between two on average."""
    found = _RATE.fullmatch(node.value.strip()) if isinstance(node, Text) else None
    if found is None or not 1 <= int(found[1]) <= _MOST:
        message = f"`rate` should be such as `5/s`, `300/m`, `1000/h`, `5000/d`, here is {document.describe(node)}"
        reading.problems.add(node.place, message, "bad_rate")
        return 1, 0
    count = int(found[1])
    return count, _NANOSECONDS[found[2]] // count


def _read_key(node: Node | None, reading: Reading) -> tuple[Value, ...]:
    if node is None:
        return ()
    values: list[Value] = []
    for entry in document.items(node, reading.problems, "`key` of `limit`"):
        if isinstance(entry, Text) and entry.value == "rule":
            continue
        value = read_value(entry, reading, f"{document.describe(entry)} in `key` of `limit`")
        if value is not None and value not in values:
            values.append(value)
    return tuple(values)


def _read_otherwise(node: Node, reading: Reading) -> tuple[Action, ...]:
    problems = reading.problems
    entries = document.fields(node, _OTHERWISE, problems, "`otherwise`").entries
    if isinstance(node, Fields) and not entries:
        known = ", ".join(f"`{key}`" for key in _OTHERWISE)
        problems.add(node.place, f"`otherwise` should have an action: {known}", "no_action")
    actions: list[Action] = []
    ending = ""
    for key, value in entries:
        action = _OTHERWISE[key.value].read(value, reading) if key.value in _OTHERWISE else None
        if action is None:
            continue
        actions.append(action)
        if action.ends and ending:
            message = f"`{key.value}` beside `{ending}`: a rule ends the reading in one way only"
            problems.add(key.place, message, "two_endings")
        ending = key.value if action.ends else ending
    return tuple(actions)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``limit``."""
    told = rows(__doc__ or "")
    keys = {
        "key": listed(TEXT),
        "rate": {"type": "string", "pattern": "^ *[0-9]+ */ *[smhd] *$"},
        "burst": whole(1, _MOST),
        "concurrency": whole(1, _MOST),
        "otherwise": closed({key: action.shape(shapes) for key, action in _OTHERWISE.items()}, least=1),
    }
    found = closed({key: described(each, told.get(key, "")) for key, each in keys.items()})
    return {**found, "anyOf": [{"required": ["rate"]}, {"required": ["concurrency"]}]}
