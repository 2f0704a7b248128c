"""The policy: YAML rules go in, a compiled set comes out, and it decides what happens to every message.

:func:`compile_policy` is the door in, :meth:`RuleSet.decide` the door out. What was written is a :class:`Rule`, what
runs is a :class:`RuleSet`. Nothing here reads a file, a clock or a die.
"""

from interceptor.policy.compiling import compile_policy, read_policy
from interceptor.policy.context import Context, Source
from interceptor.policy.meters import Meters
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.ruleset import RuleSet

__all__ = ["Context", "Meters", "Mode", "Rule", "RuleSet", "Source", "compile_policy", "read_policy"]
