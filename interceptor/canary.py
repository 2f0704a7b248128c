"""Rules that decide a share of the calls beside those in force, so that a new policy is tried on few.

A call is chosen once, by where its id stands among all: the same in every worker, and without a word between them.
"""

import re
from collections import Counter
from hashlib import blake2b
from typing import Final

from interceptor.policy import RuleSet
from interceptor.values import Decision

OFF: Final = "off"
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")
_BITS: Final = 64
_PERSON: Final = b"canary"  # a rule's `sample` chooses by the same ids, and would choose the same calls


def read_share(written: str) -> float | None:
    """A share of the calls in percent: ``5%``, ``0.5%``; 0 for ``off``; ``None`` for anything else."""
    if written.strip() == OFF:
        return 0.0
    found = _PERCENT.fullmatch(written.strip())
    percent = float(found[1]) if found is not None else 101.0
    return percent if percent <= 100 else None


def is_among(call: str, percent: float) -> bool:
    """Whether the call with this id is in the share; of what has no id yet, by its exchange."""
    digest = blake2b(call.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8, person=_PERSON).digest()
    return int.from_bytes(digest) < percent * (1 << _BITS) / 100


class CanaryRules:
    """The rules that decide ``percent`` of the calls."""

    def __init__(self, rules: RuleSet, percent: float) -> None:
        self.rules: Final = rules
        self.percent: Final = percent
        self.counted: Counter[tuple[str, str]] = Counter()  # messages by the revision that decided and verdict

    def takes(self, call: str) -> bool:
        """Whether these rules decide the call."""
        return is_among(call, self.percent)

    def go_on(self, before: "CanaryRules", in_force: str) -> None:
        """Take over what the same rules counted with another share, or beside other rules than those ``in_force``."""
        known = {self.rules.revision, in_force}
        self.counted.update({label: count for label, count in before.counted.items() if label[0] in known})

    def saw(self, decision: Decision) -> None:
        """A message was decided, by these rules or by those in force."""
        self.counted[decision.revision, decision.verdict.value] += 1
