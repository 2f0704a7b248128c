"""How a policy comes into force: from changed files, a signal or a request to one set that all workers decide by.

Laws of this module:

* All files or none, all workers or none. Every worker compiles the new set beside its traffic and says that it is
  ready; only then do they change, together. Whatever goes wrong before leaves every worker as it was.
* One attempt at a time; those that come meanwhile share the next one.
* What is in force is kept on disk before it is. A disk that cannot keep it does not hold it back (an operator who must
  stop calls tonight is not told to clean up first), but everybody is told.
* A rollback holds: the same files do not come back by themselves, not by being touched and not by a restart.
* A canary, the policy that decides a share of the calls, is a part of the set: it comes, goes, is kept and is rolled
  back with the rest, all or nothing.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from enum import Enum
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from interceptor.metrics import Snapshot, families, policy_snapshot
from interceptor.policy import Source
from interceptor.rollout.beginning import (
    Beginning,
    By,
    Canary,
    PolicySet,
    canary_of,
    refuse_no_canary,
    refuse_nothing,
)
from interceptor.rollout.examining import ExaminationError, Examiner, PackedTable, Preview
from interceptor.rollout.files import ChangingError, Files, Seen, digest_of, look, read_files
from interceptor.rollout.kept import DamagedError, InForce, KeptPolicies, KeptSet
from interceptor.settings import Settings
from interceptor.values import Problem, ProblemsError, Severity

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
_STILL_TRIES: Final = 20  # times that a request waits for files that change while they are read
_STILL_SECONDS: Final = 0.25
_AGAIN_FIRST_SECONDS: Final = 2.0  # after a failure that was not the policy's
_AGAIN_MOST_SECONDS: Final = 60.0
_LOGGED_PROBLEMS: Final = 20


Work = Callable[[], Coroutine[Any, Any, "Attempt"]]


class RolloutError(Exception):
    """A worker could not take the new policy; the text says which and why."""


class Package(Struct, frozen=True):
    """What a worker compiles a policy of: its texts, and the tables of them that were made already."""

    sources: tuple[Source, ...]
    revision: str
    tables: tuple[PackedTable, ...] = ()
    canary: Canary | None = None


class Fleet(Protocol):
    """The workers."""

    async def prepare(self, package: Package) -> None:
        """Have every worker compile the set and keep it ready. Raises :class:`RolloutError`."""

    async def activate(self, chosen: PolicySet) -> None:
        """Have every worker decide by the set it has ready; workers that start from now on begin with it.

        Raises :class:`RolloutError` where a worker turns out not to be ready; then none has changed.
        """

    async def forget(self) -> None:
        """Have every worker drop what it has ready."""

    async def counted(self) -> Snapshot:
        """What all workers have counted."""


class CountedSince(Struct, frozen=True):
    """Since when a rule stands as it does, in Unix time, and what had been counted under its name before."""

    at: float
    hits: int = 0
    shadow: int = 0
    near_misses: int = 0


class Outcome(Enum):
    """How an attempt to bring a policy into force ended."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"  # the files say what is in force
    REFUSED = "refused"  # the policy has problems; what was in force stays
    FAILED = "failed"  # the policy could not be examined or a worker could not take it; what was in force stays


class Attempt(Struct, frozen=True):
    """The last attempt: when, by what, how it ended, and in ``revision`` what was tried, where it came that far.

    ``problems`` are the policy's, warnings included; ``message`` is one sentence.
    """

    at: float
    by: By
    outcome: Outcome
    message: str
    revision: str = ""
    seconds: float = 0.0
    problems: tuple[Problem, ...] = ()

    @property
    def good(self) -> bool:
        """Whether what was asked for is in force."""
        return self.outcome in {Outcome.LOADED, Outcome.UNCHANGED}


class Rollout:
    """Watches the files, examines, brings into force, rolls back, and knows what is in force and why."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        beginning: Beginning,
        *,
        clock: Callable[[], float] = time.time,
        context: BaseContext | None = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._fleet = fleet
        self._clock = clock
        self._examiner, self._analyst = Examiner(self._context), Examiner(self._context)
        self._begun: set[Examiner] = set()
        self._kept = KeptPolicies(settings.state / "policy")
        self._lock = asyncio.Lock()
        self._next: dict[tuple[By, str], asyncio.Task[Attempt]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._again_at, self._again_seconds = 0.0, _AGAIN_FIRST_SECONDS
        self._looked_at: Seen = beginning.seen  # how the files of the last attempt stood
        self._seen = self._looked_at
        self._tried: tuple[str, ...] | None = None  # the digests of the files of the last attempt
        self.current: PolicySet = beginning.chosen
        self.last: Attempt = Attempt(
            beginning.chosen.at,
            By.START,
            Outcome.REFUSED if beginning.chosen.by is By.LAST_GOOD else Outcome.LOADED,
            beginning.message,
            beginning.chosen.revision,
            beginning.seconds,
            beginning.problems,
        )
        self.attempts: dict[tuple[By, Outcome], int] = {(self.last.by, self.last.outcome): 1}
        self.keeping_fails: str = ""
        self.held_against: str = beginning.held_against
        self.matches_files: bool = beginning.chosen.by is By.START
        self.history: tuple[KeptSet, ...] = ()
        self._since = {rule.name: CountedSince(self.current.at) for rule in self.current.rules}
        self._started = clock()

    async def start(self) -> None:
        """Keep what is in force, and begin to look at the files."""
        await self._keep(self.current, self.held_against)
        self._begin(self._watch())

    async def stop(self) -> None:
        """Stop looking, end what is being examined."""
        for task in self._tasks:
            task.cancel()
        self._examiner.stop()
        self._analyst.stop()
        for examiner in self._begun:
            examiner.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # what may be asked for

    async def reload(self, by: By) -> Attempt:
        """Bring into force what the files say. A rollback no longer holds then."""
        return await self._queued(by, "", lambda: self._reload(by))

    async def rollback(self, revision: str = "") -> Attempt:
        """Return to the policy that was in force before, or to the last one of this ``revision``; it holds."""
        return await self._queued(By.ROLLBACK, revision, lambda: self._rollback(revision))

    async def try_canary(self, percent: float) -> Attempt:
        """Give a share of the calls to the policy in the canary's folder; with 0 all calls to the one in force."""
        return await self._queued(By.CANARY, f"{percent:g}", lambda: self._try_canary(percent))

    async def preview(self) -> Preview:
        """What a reload would change. Raises :class:`ProblemsError`, :class:`RolloutError`, ``OSError``."""
        files = await self._read(self._settings.rules)
        examiner = Examiner(self._context)
        self._begun.add(examiner)
        try:
            return await asyncio.to_thread(
                examiner.compare, self.current.sources, files.sources, files.cases, self._settings
            )
        except ExaminationError as fault:
            raise RolloutError(str(fault)) from None
        finally:
            self._begun.discard(examiner)

    async def _queued(self, by: By, revision: str, work: Work) -> Attempt:
        """One at a time. An attempt that waits for its turn serves all who ask for the same meanwhile."""
        waiting = self._next.get((by, revision))
        if waiting is None:
            waiting = self._next[by, revision] = self._begin(self._in_turn(by, revision, work))
        return await asyncio.shield(waiting)

    def _begin[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _in_turn(self, by: By, revision: str, work: Work) -> Attempt:
        try:
            await asyncio.sleep(0)  # mitmproxy's loops begin tasks at once: those who ask must find this one first
            await self._lock.acquire()
        finally:
            self._next.pop((by, revision), None)
        try:
            return await self._attempt(by, work)
        finally:
            self._lock.release()

    async def _attempt(self, by: By, work: Work) -> Attempt:
        began = self._clock()
        self._analyst.stop()
        try:
            attempt = await work()
        except ProblemsError as fault:
            attempt = Attempt(began, by, Outcome.REFUSED, _counted(fault.problems), problems=fault.problems)
        except (ExaminationError, RolloutError, DamagedError, OSError) as fault:
            attempt = Attempt(began, by, Outcome.FAILED, _told(fault))
        attempt = replace(attempt, at=began, seconds=round(max(0.0, self._clock() - began), 3))
        self.last = attempt
        if by not in _ASKED_OTHERWISE:
            self.matches_files = attempt.good
        elif by is By.ROLLBACK and attempt.outcome is Outcome.LOADED and self.held_against:
            self.matches_files = False
        if attempt.outcome is Outcome.FAILED and by not in _ASKED_OTHERWISE:
            self._again_at = time.monotonic() + self._again_seconds
            self._again_seconds = min(self._again_seconds * 2, _AGAIN_MOST_SECONDS)
        else:
            self._again_at, self._again_seconds = 0.0, _AGAIN_FIRST_SECONDS
        self.attempts[attempt.by, attempt.outcome] = self.attempts.get((attempt.by, attempt.outcome), 0) + 1
        self._log(attempt)
        if attempt.good:
            self._begin(self._analyse(attempt))
        return attempt

    async def _analyse(self, attempt: Attempt) -> None:
        """Tell with an attempt what the order of its rules makes of them; another attempt puts an end to that."""
        analyst = self._analyst = Examiner(self._context)
        try:
            found = await asyncio.to_thread(analyst.analyse, self.current.sources, self._settings)
            canary = self.current.canary
            if canary is not None and self.last is attempt:
                found = (*found, *await asyncio.to_thread(analyst.analyse, canary.sources, self._settings))
        except ExaminationError as fault:
            if self.last is attempt:
                log.warning("the policy in force could not be analysed: %s", fault)
            return
        if self.last is attempt:
            self.last = replace(attempt, problems=(*attempt.problems, *found))

    # the ways into force

    async def _reload(self, by: By) -> Attempt:
        self._tried = None
        files = await self._read(self._settings.rules, self._canary_folder)
        self._looked_at = files.seen
        refuse_nothing(files, self._settings)
        self._tried = _digests(files)
        percent = 0.0 if self.current.canary is None else self.current.canary.percent
        return await self._bring(files.sources, files.cases, by, "", beside=files.canary, percent=percent)

    async def _try_canary(self, percent: float) -> Attempt:
        """The policy in force stays as it is, a rollback that holds too."""
        folder, files = self._settings.policy.canary, None
        if percent:
            if folder is None:
                raise RolloutError("the configuration names no folder for a canary: `policy.canary`")
            files = await self._read(folder)
            refuse_no_canary(files, self._settings)
        sources, held = self.current.sources, self.held_against
        attempt = await self._bring(sources, (), By.CANARY, held, beside=files, percent=percent)
        if attempt.good:
            self._looked_at = self._looked_at[0], () if files is None else files.fingerprint
        return attempt

    async def _rollback(self, revision: str) -> Attempt:
        chosen = await asyncio.to_thread(self._before, revision)
        sources = await asyncio.to_thread(self._kept.sources, chosen)
        against = self.held_against or self.current.digest
        beside = None
        if chosen.percent and self._settings.policy.canary is not None:
            beside = Files(await asyncio.to_thread(self._kept.canary_sources, chosen), (), ())
        if beside is None and not self.held_against and digest_of(sources) == self.current.digest:
            against = ""  # a canary is taken away, and nothing else: there is nothing to hold against
        number, percent = chosen.number, chosen.percent
        return await self._bring(sources, (), By.ROLLBACK, against, number=number, beside=beside, percent=percent)

    def _before(self, revision: str) -> KeptSet:
        """The set that a rollback returns to."""
        if revision:
            for kept in self._kept.history():
                if kept.revision == revision and kept.number != self.current.number:
                    return kept
            raise RolloutError(f"revision `{revision}` is not kept, known are {self._known()}")
        number = self.current.number
        here = self._kept.find(number) if number else None
        previous = self.current.previous if here is None else here.previous
        before = self._kept.find(previous) if previous else None
        if before is None:
            raise RolloutError("no policy is kept that was in force before this one")
        return before

    def _known(self) -> str:
        names = dict.fromkeys(kept.revision for kept in self._kept.history())
        return ", ".join(f"`{name}`" for name in names) or "none"

    async def _bring(
        self,
        sources: tuple[Source, ...],
        cases: tuple[Source, ...],
        by: By,
        held_against: str,
        *,
        number: int = 0,
        beside: Files | None = None,
        percent: float = 0.0,
    ) -> Attempt:
        """Examine a policy and bring it into force in all workers, or change nothing.

        ``beside`` is that which is to decide ``percent`` of the calls.
        """
        examined = await asyncio.to_thread(self._examiner.examine, sources, cases, self._settings)
        problems, good, canary = examined.problems, examined.good, None
        if beside is not None:
            second = await asyncio.to_thread(self._examiner.examine, beside.sources, beside.cases, self._settings)
            problems, good = (*problems, *second.problems), good and second.good
            canary = canary_of(percent, beside.sources, second)
        attempt = Attempt(0.0, by, Outcome.REFUSED, _counted(problems), examined.revision, problems=problems)
        if not good:
            return attempt
        digest = digest_of(sources)
        before = self.current
        as_before = before.canary is None if canary is None else canary.is_like(before.canary)
        if digest == before.digest and as_before and not number:
            self.held_against = held_against
            if self.current.number:
                await self._put_in_force(self.current.number, held_against)
            if self.current.by is By.LAST_GOOD and by not in _ASKED_OTHERWISE:
                self.current = replace(self.current, by=by)  # the files were mended, to what they were
            return replace(attempt, outcome=Outcome.UNCHANGED, message="the files say what is in force")
        try:
            await self._fleet.prepare(Package(sources, examined.revision, examined.tables, canary))
            lean = None if canary is None else replace(canary, tables=())
            chosen = PolicySet(
                sources, examined.revision, self._clock(), by, examined.rules, number, before.number, lean
            )
            kept = await self._kept_set(chosen)
            await self._fleet.activate(kept)
        except BaseException:
            await self._fleet.forget()
            raise
        self.current = kept
        self.held_against = held_against
        self._since = await self._count_anew(before, kept)
        await self._put_in_force(kept.number, held_against)
        return replace(attempt, outcome=Outcome.LOADED, message=_in_force(kept, before))

    @property
    def _canary_folder(self) -> Path | None:
        """Where the canary stands, if there is one."""
        return None if self.current.canary is None else self._settings.policy.canary

    async def _read(self, folder: Path, canary: Path | None = None) -> Files:
        """The files at one moment; a request waits a little for them to stand still."""
        for _ in range(_STILL_TRIES):
            try:
                return await asyncio.to_thread(read_files, folder, canary)
            except ChangingError:
                await asyncio.sleep(_STILL_SECONDS)
        raise RolloutError("the files change all the time, they were not read")

    # keeping

    async def _keep(self, chosen: PolicySet, held_against: str) -> None:
        """Keep what is in force at the start, unless it is what was kept last."""
        try:
            in_force = await asyncio.to_thread(self._in_force)
            if in_force is None or chosen.number != in_force.number:
                self.current = await self._kept_set(chosen)
        except OSError as fault:
            self._not_kept(fault)
        await self._put_in_force(self.current.number, held_against)

    def _in_force(self) -> InForce | None:
        try:
            return self._kept.in_force()
        except DamagedError:
            return None

    async def _kept_set(self, chosen: PolicySet) -> PolicySet:
        """The same with its number on disk; 0 where it cannot be kept."""
        if chosen.number:
            return chosen
        try:
            kept = await asyncio.to_thread(
                self._kept.keep,
                chosen.sources,
                chosen.revision,
                at=chosen.at,
                by=chosen.by.value,
                previous=chosen.previous,
                canary=() if chosen.canary is None else chosen.canary.sources,
                canary_revision="" if chosen.canary is None else chosen.canary.revision,
                percent=0.0 if chosen.canary is None else chosen.canary.percent,
            )
        except OSError as fault:
            self._not_kept(fault)
            return chosen
        self.keeping_fails = ""
        return replace(chosen, number=kept.number)

    async def _put_in_force(self, number: int, held_against: str) -> None:
        try:
            if number:
                await asyncio.to_thread(self._kept.put_in_force, number, held_against)
            self.history = await asyncio.to_thread(self._kept.history)
        except OSError as fault:
            self._not_kept(fault)

    def _not_kept(self, fault: OSError) -> None:
        self.keeping_fails = (fault.strerror or str(fault)).lower()
        log.error("the policy in force could not be kept in %s: %s", self._settings.state / "policy", fault)

    # watching

    async def _watch(self) -> None:
        """Reload when the files changed and then stood still from one look to the next."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Exception:  # whatever it was, the next change is still seen
                log.exception("looking for changes of the policy failed")

    async def _look(self) -> None:
        if self.keeping_fails and not self.current.number:
            async with self._lock:
                await self._keep(self.current, self.held_against)
        if not self._settings.policy.watch:
            return
        before = self._seen
        self._seen = await asyncio.to_thread(look, self._settings.rules, self._canary_folder)
        due = 0.0 < self._again_at <= time.monotonic()
        if self._seen == before and (self._seen != self._looked_at or due):
            self._looked_at = self._seen
            await self._changed()

    async def _changed(self) -> Attempt | None:
        """The files look different: load them, unless they say what they said before."""
        with contextlib.suppress(ChangingError, ProblemsError, OSError):  # told by the attempt itself
            files = await asyncio.to_thread(read_files, self._settings.rules, self._canary_folder)
            if files.digest == self.held_against and files.sources:
                self._looked_at = files.seen
                return None
            if self._tried == _digests(files) and self.last.outcome is not Outcome.FAILED:
                self._looked_at = files.seen
                return None
        return await self.reload(By.FILE)

    # telling

    def counted_since(self, rule: str) -> CountedSince:
        """Since when what is counted of a rule in force belongs to the rule as it stands."""
        return self._since.get(rule) or CountedSince(self.current.at)

    async def _count_anew(self, before: PolicySet, now: PolicySet) -> dict[str, CountedSince]:
        """What is counted of a rule begins anew with its text; a rule that a reload leaves alone goes on."""
        known = {rule.name: rule.digest for rule in before.rules}
        changed = {rule.name for rule in now.rules if known.get(rule.name) != rule.digest}
        totals: dict[str, dict[str, int]] = {}
        if changed:
            snapshot = await self._fleet.counted()
            for family in (families.RULE_HITS, families.SHADOW, families.RULE_NEAR_MISSES):
                lines = snapshot.series.get(family.name, ())
                totals[family.name] = {line.labels[0]: int(line.values[0]) for line in lines}
        hits, shadow, near = (
            totals.get(family.name, {}) for family in (families.RULE_HITS, families.SHADOW, families.RULE_NEAR_MISSES)
        )

        def since(name: str) -> CountedSince:
            if name in changed:
                return CountedSince(now.at, hits.get(name, 0), shadow.get(name, 0), near.get(name, 0))
            return self._since[name]

        return {rule.name: since(rule.name) for rule in now.rules}

    def snapshot(self) -> Snapshot:
        """What is counted here."""
        return policy_snapshot(
            self._started,
            {(by.value, outcome.value): count for (by, outcome), count in self.attempts.items()},
            last_at=self.last.at,
            last_seconds=self.last.seconds,
            last_good=self.last.good,
            matches_files=self.matches_files,
            kept=bool(self.current.number),
        )

    def warnings(self) -> tuple[str, ...]:
        """What an operator should know although traffic is served, one sentence each."""
        told: list[str] = []
        if self.current.by is By.LAST_GOOD:
            told.append(f"policy: the rules cannot be used, the last good revision {self.current.revision} is in force")
        elif self.held_against:
            told.append(f"policy: rolled back to revision {self.current.revision}, it holds against the files")
        elif not self.last.good:
            what = "canary" if self.last.by is By.CANARY else "reload"
            told.append(f"policy: the last {what} was {self.last.outcome.value}: {self.last.message}")
        if self.keeping_fails:
            told.append(f"policy: the set in force is not kept on disk: {self.keeping_fails}")
        return tuple(told)

    def _log(self, attempt: Attempt) -> None:
        errors = [problem for problem in attempt.problems if problem.severity is Severity.ERROR]
        match attempt.outcome:
            case Outcome.LOADED:
                log.info("policy (%s): %s, in %.1f s", attempt.by.value, attempt.message, attempt.seconds)
            case Outcome.UNCHANGED:
                log.info("policy (%s): %s", attempt.by.value, attempt.message)
            case Outcome.REFUSED | Outcome.FAILED:
                stays = self.current.revision
                log.error(
                    "policy (%s) %s: %s; revision %s stays",
                    attempt.by.value,
                    attempt.outcome.value,
                    attempt.message,
                    stays,
                )
        for problem in errors[:_LOGGED_PROBLEMS]:
            log.error("%s", problem)


_ASKED_OTHERWISE: Final = {By.ROLLBACK, By.CANARY}  # not for the policy's files


def _digests(files: Files) -> tuple[str, ...]:
    """Of all files, the cases too."""
    first = files.digest, digest_of(files.cases)
    return first if files.canary is None else (*first, *_digests(files.canary))


def _in_force(now: PolicySet, before: PolicySet) -> str:
    """What is said when a set came into force."""
    told = f"revision {now.revision} is in force, {before.revision} was"
    if now.canary is None and before.canary is None:
        return told
    if now.revision == before.revision:
        told = f"revision {now.revision} stays in force"
    if now.canary is None:
        return f"{told}; there is no canary any more"
    return f"{told}; revision {now.canary.revision} decides {now.canary.percent:g}% of the calls"


def _counted(problems: tuple[Problem, ...]) -> str:
    count = sum(problem.severity is Severity.ERROR for problem in problems)
    return f"{count} problem{'' if count == 1 else 's'}"


def _told(fault: Exception) -> str:
    if isinstance(fault, OSError):
        reason = (fault.strerror or str(fault)).lower()
        return f"cannot read `{fault.filename}`: {reason}" if fault.filename else reason
    return str(fault)
