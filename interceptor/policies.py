"""The policy that one worker decides by, and the one that may come into force next.

A new one is compiled beside the traffic, in a thread that gives way to it, and kept ready; it comes into force between
two messages. What it has in common with the one before, which is its tables mostly, is taken over and not made again.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from interceptor.canary import CanaryRules
from interceptor.loading import policy_context
from interceptor.metrics import Metrics
from interceptor.pipeline import Pipeline
from interceptor.policy import Context, RuleSet, Source, compile_policy
from interceptor.policy.near import NearMisses
from interceptor.policy.tables import Table, TableKey, is_table, table_key, table_name
from interceptor.rollout import Canary, Package
from interceptor.rollout.examining import unpack_tables
from interceptor.rollout.pace import Pace
from interceptor.settings import Settings
from interceptor.values import Facts, ProblemsError

log = logging.getLogger(__name__)


class _Policy(NamedTuple):
    """A policy that is compiled, with what goes with it; ``names`` are those of its rules, by their labels."""

    rules: RuleSet
    canary: CanaryRules | None
    tables: dict[TableKey, Table]
    near: NearMisses
    names: dict[str, str]
    names_beside: dict[str, str]  # of the canary


class Policies:
    """Those of one worker. It begins with these ``sources``, or with the ``rules`` that they were compiled to.

    ``canary`` decides its share beside them. Compiling gives way while messages are in flight, as ``busy`` says.
    """

    def __init__(
        self,
        settings: Settings,
        sources: Sequence[Source],
        metrics: Metrics,
        *,
        rules: RuleSet | None,
        canary: Canary | None,
        busy: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._busy = busy
        self._pipeline: Pipeline | None = None
        self._next: _Policy | None = None
        context = policy_context(settings)
        compiled = rules or compile_policy(sources, context)
        beside = None if canary is None else CanaryRules(compile_policy(canary.sources, context), canary.percent)
        self._now = _policy(sources, compiled, canary, beside)
        self._count()

    @property
    def rules(self) -> RuleSet:
        """The rules in force."""
        return self._now.rules

    def decide_in(self, pipeline: Pipeline) -> None:
        """Have a pipeline, which was made with these rules, decide by those that come into force as well."""
        self._pipeline = pipeline
        pipeline.canary = self._now.canary

    async def prepare(self, read: Callable[[], Package], revision: str) -> str:
        """Compile a policy beside the traffic and keep it ready; ``""``, or why that cannot be done.

        ``read`` gives what it is made of; it is called in a thread.
        """
        self._next = None
        gc.disable()  # compiling makes many objects and no cycles; the collector would look at all of them, often
        try:
            ready = await asyncio.to_thread(self._compile, read)
        except ProblemsError as fault:
            return f"{len(fault.problems)} problems, the first: {fault.problems[0]}"
        except Exception as fault:  # whatever it is, the policy in force stays
            log.exception("a policy could not be compiled")
            return f"{type(fault).__name__}: {fault}"
        else:
            gc.freeze()  # before the collector looks at what was made
        finally:
            gc.enable()
        if ready.rules.revision != revision:
            return f"it is revision {ready.rules.revision} here, not {revision}"
        self._next = ready
        return ""

    def activate(self, revision: str) -> bool:
        """Decide by the policy that is ready from this message on; false where it is not this revision."""
        ready, pipeline = self._next, self._pipeline
        if ready is None or pipeline is None or ready.rules.revision != revision:
            return False
        self._next = None
        before, self._now = self._now.rules.revision, ready
        canary, was = ready.canary, pipeline.canary
        if canary is not None and was is not None and canary.rules.revision == was.rules.revision:
            canary.go_on(was, revision)
        pipeline.adopt(ready.rules, time.time(), canary)
        self._count()
        log.info("revision %s decides, before it %s", revision, before)
        return True

    def forget(self) -> None:
        """Drop the policy that is ready."""
        self._next = None

    def near_misses(self, facts: Facts) -> None:
        """Count the rules that this message would have met but for one condition."""
        self._metrics.near_misses(self._now.near.find(facts))

    def _compile(self, read: Callable[[], Package]) -> _Policy:
        package = read()
        context: Context = replace(policy_context(self._settings), pace=Pace(self._busy))
        known = self._now.tables
        made = known | unpack_tables(table for table in package.tables if table.key not in known)
        rules = compile_policy(package.sources, context, made)
        canary = package.canary
        if canary is None:
            return _policy(package.sources, rules, None, None)
        made |= unpack_tables(table for table in canary.tables if table.key not in made)
        beside = CanaryRules(compile_policy(canary.sources, context, made), canary.percent)
        return _policy(package.sources, rules, canary, beside)

    def _count(self) -> None:
        """Count by this policy from now on."""
        rules, canary = self._now.rules, self._now.canary
        self._metrics.policy_loaded(rules.revision, self._now.names, time.time(), self._now.names_beside)
        if canary is None:
            self._metrics.canary("", 0.0, rules.revision)
        else:
            self._metrics.canary(canary.rules.revision, canary.percent, rules.revision)


def _policy(sources: Sequence[Source], rules: RuleSet, canary: Canary | None, beside: CanaryRules | None) -> _Policy:
    tables = _tables(sources, rules)
    names: dict[str, str] = {}
    if canary is not None and beside is not None:
        tables |= _tables(canary.sources, beside.rules)
        names = _names(beside.rules)
    return _Policy(rules, beside, tables, NearMisses(rules), _names(rules), names)


def _tables(sources: Sequence[Source], rules: RuleSet) -> dict[TableKey, Table]:
    """The tables of a set, so that the next one need not make those anew whose texts are the same."""
    return {table_key(source): rules.tables[table_name(source.file)] for source in sources if is_table(source.file)}


def _names(rules: RuleSet) -> dict[str, str]:
    return {rule.label: rule.name for rule in rules.rules}
