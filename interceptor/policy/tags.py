"""Tags as conditions: a message has a tag when a rule above matches that gives it.

So a condition on a tag is made of those rules' names and conditions, and sees nothing but the facts, like any other.
All conditions on one tag share the list of the rules that give it; each looks at those above itself. For one message
every rule of the list is asked once at most, however many conditions look.
"""

from collections.abc import Mapping
from itertools import islice

from msgspec import Struct

from interceptor import document
from interceptor.policy.condition import AllOf, AnyOf, Condition, Key, Not, Offer, Test, quoted
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind, Mode

DEEPEST = 16
_MOST_KEYS = 256  # of all rules that give a tag

NamesBelow = Mapping[Kind, frozenset[str] | None]
"""Per kind the names of messages in lower case, ``None`` for all of the kind."""


class Tagger(Struct, frozen=True):
    """A rule that gives a tag: its name, the messages it is for, and its condition."""

    rule: str
    names: NamesBelow
    when: Condition | None

    def named(self, facts: Facts) -> bool:
        """The rule is for messages of this name."""
        names = self.names.get(facts.kind, frozenset())
        return names is None or facts.name.lower() in names


class Taggers:
    """The rules that give one tag, in the order of reading; it grows while the rules are read."""

    __slots__ = ("_counts", "_keys", "depth", "rules", "tag")

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.rules: list[Tagger] = []
        self.depth = 0  # how many tags one has to know before this one
        self._keys: dict[Key, None] = {}  # of all rules together, in the order of reading
        self._counts: list[int] = []  # how many of them are of the rules up to each; -1 where that tells nothing

    def add(self, tagger: Tagger) -> None:
        """One more rule, below all the others."""
        self.rules.append(tagger)
        self.depth = max(self.depth, depth_of(tagger.when, self))
        offer = None if tagger.when is None else tagger.when.offer()
        if offer is None or len(self._keys) > _MOST_KEYS or -1 in self._counts[-1:]:
            self._counts.append(-1)
            return
        self._keys.update(dict.fromkeys(offer.keys))
        self._counts.append(len(self._keys) if len(self._keys) <= _MOST_KEYS else -1)

    def keys(self, above: int) -> tuple[Key, ...] | None:
        """Keys of which a message finds one at least, where one of the first ``above`` rules matches."""
        count = self._counts[above - 1] if above else -1
        return tuple(islice(self._keys, count)) if count >= 0 else None


class Tagged(Struct, frozen=True):
    """One of the first ``above`` of the rules in ``taggers`` matches."""

    taggers: Taggers
    above: int

    @property
    def tag(self) -> str:
        """The tag."""
        return self.taggers.tag

    @property
    def rules(self) -> tuple[Tagger, ...]:
        """The rules above that give it."""
        return tuple(self.taggers.rules[: self.above])

    def test(self, readings: Readings) -> Test:
        scan, above = self._scan(readings), self.above
        scan.extend(self, readings)
        return lambda facts: scan.first(facts, above) < above

    def offer(self) -> Offer | None:
        keys = self.taggers.keys(self.above)
        return None if keys is None else Offer(keys, exact=False)

    def expects(self) -> str:
        return f"tag {self.tag}"

    def sees(self, facts: Facts, readings: Readings) -> str:
        scan = self._scan(readings)
        scan.extend(self, readings)
        first = scan.first(facts, self.above)
        if first >= self.above:
            return f"no tag {self.tag}"
        return f"tag {self.tag} by {quoted(self.taggers.rules[first].rule)}"

    def _scan(self, readings: Readings) -> "_Scan":
        scan = readings.kept.get(self.taggers)
        if not isinstance(scan, _Scan):
            scan = readings.kept[self.taggers] = _Scan()
        return scan


class _Scan:
    """How far the rules that give one tag were asked about the message at hand."""

    __slots__ = ("_asked", "_facts", "_found", "_tests")

    def __init__(self) -> None:
        self._tests: list[tuple[Tagger, Test | None]] = []
        self._facts: Facts | None = None
        self._asked = 0
        self._found = False  # the last one asked matched

    def extend(self, tagged: Tagged, readings: Readings) -> None:
        while len(self._tests) < tagged.above:
            tagger = tagged.taggers.rules[len(self._tests)]
            self._tests.append((tagger, None if tagger.when is None else tagger.when.test(readings)))

    def first(self, facts: Facts, above: int) -> int:
        """The first rule that matches, if it is among those ``above``; else ``above`` or more."""
        if facts is not self._facts:
            self._facts, self._asked, self._found = facts, 0, False
        while not self._found and self._asked < above:
            tagger, test = self._tests[self._asked]
            # A rule that gives a tag and asks for it looks at those above itself, and they were asked.
            found = tagger.named(facts) and (test is None or test(facts))
            self._asked += 1
            self._found = found
        return self._asked - 1 if self._found else max(self._asked, above)


def depth_of(condition: Condition | None, beside: Taggers | None = None) -> int:
    """How many tags, one after the other, have to be known for a condition; ``beside`` is not counted again."""
    match condition:
        case AllOf(parts) | AnyOf(parts):
            return max(depth_of(part, beside) for part in parts)
        case Not(part):
            return depth_of(part, beside)
        case Tagged(taggers):
            return taggers.depth + (taggers is not beside)
        case _:
            return 0


class Tags:
    """What the rules above give, for those that are read next.

    An enforced rule sees the tags of enforced rules. One in shadow sees those of rules in shadow as well: it tells what
    would be if all that is in shadow were enforced.
    """

    __slots__ = ("_enforced", "_known", "_shadowed")

    def __init__(self) -> None:
        self._enforced: dict[str, Taggers] = {}
        self._shadowed: dict[str, Taggers] = {}
        self._known: set[str] = set()

    def add(self, tags: tuple[str, ...], mode: Mode, tagger: Tagger) -> None:
        """A rule that gives ``tags`` stands here."""
        for tag in tags:
            self._known.add(tag)
            if mode is Mode.ENFORCE:
                self._enforced.setdefault(tag, Taggers(tag)).add(tagger)
            if mode is not Mode.OFF:
                self._shadowed.setdefault(tag, Taggers(tag)).add(tagger)

    def above(self, tag: str, mode: Mode) -> Tagged | None:
        """The condition of a rule that is read now; ``None`` where no rule above gives the tag, whatever its mode."""
        if tag not in self._known:
            return None
        taggers = (self._enforced if mode is Mode.ENFORCE else self._shadowed).get(tag) or Taggers(tag)
        return Tagged(taggers, len(taggers.rules))

    def nearest(self, tag: str) -> str:
        """What may have been meant."""
        return document.nearest(tag, self._known)
