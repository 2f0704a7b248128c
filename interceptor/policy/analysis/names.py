"""The names of messages, each with its kind, as far as rules tell them apart.

Beside the names that some rule is for there are, of each kind, one that stands for the rest of those that are known
and dial a number, one for those that dial none, and one for all that are not known.
"""

from collections.abc import Iterable
from typing import Final

from interceptor.policy.analysis.regions import bits
from interceptor.policy.condition import any_word
from interceptor.policy.context import Context
from interceptor.policy.names import ANY, Names
from interceptor.values import Kind


class MessageNames:
    """The names that some rules are for, and their rest."""

    def __init__(self, names: Iterable[Names], context: Context) -> None:
        self._spelled: Final = {kind: {name.lower(): name for name in context.names(kind)} for kind in Kind}
        named = {
            (kind, name.lower()) for each in names for kind, found in each.items() for name in found if name != ANY
        }
        self._at: dict[tuple[Kind, str], int] = {}
        self._dial: Final = {
            kind: {name.lower() for name in context.dial.get(kind, {})} for kind in Kind if context.dial
        }
        self._rest: dict[tuple[Kind, bool], int] = {}
        self._unknown: dict[Kind, int] = {}
        self._examples: list[tuple[Kind, str]] = []
        for kind in Kind:
            spelled = self._spelled[kind]
            mine = sorted(name for of, name in named if of is kind)
            for name in mine:
                self._at[kind, name] = len(self._examples)
                self._examples.append((kind, spelled.get(name, name)))
            for lower, written in spelled.items():
                key = kind, self.may_dial(kind, lower)
                if lower not in mine and key not in self._rest:
                    self._rest[key] = len(self._examples)
                    self._examples.append((kind, written))
            self._unknown[kind] = len(self._examples)
            self._examples.append((kind, "Unheard" + "OfX" * sum(name.startswith("unheard") for name in mine)))
        self.size: Final = len(self._examples)

    def of(self, kind: Kind, name: str) -> int:
        """The value of a message."""
        lower = name.lower()
        found = self._at.get((kind, lower))
        if found is not None:
            return found
        known = lower in self._spelled[kind]
        return self._rest[kind, self.may_dial(kind, lower)] if known else self._unknown[kind]

    def may_dial(self, kind: Kind, lower: str) -> bool:
        """Whether a message of this name may have a number that it dials, as far as that is known."""
        return not self._dial or lower not in self._spelled[kind] or lower in self._dial[kind]

    def dialling(self) -> int:
        """The values of the messages that may dial a number."""
        return sum(1 << index for index, (kind, name) in enumerate(self._examples) if self.may_dial(kind, name.lower()))

    def mask(self, names: Names, kind: Kind) -> int:
        """The values of the messages of one kind that a rule's ``on`` names."""
        mine = names.get(kind, frozenset())
        if ANY in mine:
            return self.all_of(kind)
        found = 0
        for name in mine:
            found |= 1 << self._at[kind, name.lower()]
        return found

    def all_of(self, kind: Kind) -> int:
        """The values of all messages of one kind."""
        return sum(1 << index for index, (of, _) in enumerate(self._examples) if of is kind)

    def example(self, values: int) -> tuple[Kind, str]:
        """One of these messages, rather one that a rule is for, or at least one that is known."""
        unknown = set(self._unknown.values())
        rest = set(self._rest.values())
        return self._examples[min(bits(values), key=lambda value: (value in unknown, value in rest, value))]

    def told(self, values: int) -> str:
        """These messages in words; what stands for several is told as such."""
        found: list[str] = []
        for kind in Kind:
            here = values & self.all_of(kind)
            if here == self.all_of(kind):
                found.append(f"any {kind.value}")
            elif here:
                found.append(f"{kind.value} {any_word([self._told_one(kind, value) for value in bits(here)])}")
        return " or ".join(found)

    def _told_one(self, kind: Kind, value: int) -> str:
        if value == self._unknown[kind]:
            return "of an unknown name"
        several = {self._rest.get((kind, True)): "another that dials", self._rest.get((kind, False)): "any other"}
        return several.get(value, self._examples[value][1])
