"""What a start begins with: the policy in the files, or the one that was in force before."""

import logging
import time
from enum import Enum
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy import RuleSet, Source
from interceptor.rollout.examining import Examined, PackedTable, RuleSummary, examine
from interceptor.rollout.files import ChangingError, Files, Seen, digest_of, fingerprint, look, read_files
from interceptor.rollout.kept import DamagedError, KeptPolicies, KeptSet
from interceptor.settings import ColdStart, Settings
from interceptor.values import Place, Problem, ProblemsError, Severity

log = logging.getLogger(__name__)

_STILL_TRIES = 20
_STILL_SECONDS = 0.25


class By(Enum):
    """What brought a policy into force, or tried to."""

    START = "start"
    FILE = "file"
    SIGNAL = "signal"
    REQUEST = "request"
    ROLLBACK = "rollback"
    CANARY = "canary"  # a share of the calls was given to another policy, or taken from it
    LAST_GOOD = "last_good"  # a start whose files could not be used


class Canary(Struct, frozen=True):
    """A second policy, which decides ``percent`` of the calls; ``tables`` are large ones that were made already."""

    percent: float
    sources: tuple[Source, ...]
    revision: str
    rules: tuple[RuleSummary, ...]
    tables: tuple[PackedTable, ...] = ()

    def is_like(self, other: "Canary | None") -> bool:
        """Whether the same texts decide the same share."""
        return other is not None and (self.percent, self.sources) == (other.percent, other.sources)


def canary_of(percent: float, sources: tuple[Source, ...], examined: Examined) -> Canary:
    """The canary that an examination found good."""
    return Canary(percent, sources, examined.revision, examined.rules, examined.tables)


class PolicySet(Struct, frozen=True):
    """One policy: its texts, and what is told of it. ``at`` is when it came into force, in Unix time.

    ``number`` is its place among those kept on disk, 0 while it is not kept; ``previous`` that of the one before.
    """

    sources: tuple[Source, ...]
    revision: str
    at: float
    by: By
    rules: tuple[RuleSummary, ...]
    number: int = 0
    previous: int = 0
    canary: Canary | None = None

    @property
    def digest(self) -> str:
        """Of the texts alone."""
        return digest_of(self.sources)


class Beginning(Struct, frozen=True):
    """The policy to begin with. ``rules`` is the compiled set.

    Where it is not what the files say, ``problems`` and ``message`` tell why, or ``held_against`` is the digest of the
    files that a rollback holds against.
    """

    chosen: PolicySet
    rules: RuleSet
    seen: Seen = ((), ())
    problems: tuple[Problem, ...] = ()
    message: str = ""
    held_against: str = ""
    seconds: float = 0.0


def begin_with(sources: tuple[Source, ...], settings: Settings) -> Beginning:
    """Begin with these texts, whatever stands on disk. Raises :class:`ProblemsError`."""
    return _examined(Files(sources, (), fingerprint(settings.rules)), settings, By.START)


def begin(settings: Settings) -> Beginning:
    """What to begin with. Raises :class:`ProblemsError` or ``OSError``, the files', where there is nothing to use."""
    began = time.time()
    kept = KeptPolicies(settings.state / "policy")
    held = _held(kept)
    in_force = _in_force(kept)
    canary = settings.policy.canary if in_force is not None and in_force.percent else None
    seen = look(settings.rules, canary)
    try:
        files = _read(settings, canary)
        if held is not None and files.digest == held[1]:
            rolled_back = _last_good(kept, settings, By.ROLLBACK, seen, began)
            if rolled_back is not None:
                log.warning(
                    "the policy was rolled back to revision %s and the files are what they were then: it holds; "
                    "`interceptor policy reload` loads them",
                    rolled_back.chosen.revision,
                )
                return rolled_back
        if in_force is not None:
            refuse_nothing(files, settings)
        return _examined(files, settings, By.START, kept)
    except (ProblemsError, OSError) as fault:
        if settings.policy.cold_start is ColdStart.REFUSE:
            raise
        last_good = _last_good(kept, settings, By.LAST_GOOD, seen, began, fault)
        if last_good is None:
            raise
        log.error(  # noqa: TRY400 - problems have places, no traceback is needed
            "THE RULES CANNOT BE USED (%s). The last good policy is in force instead: revision %s, which came into "
            "force at %s",
            last_good.message,
            last_good.chosen.revision,
            time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(last_good.chosen.at)),
        )
        for problem in last_good.problems:
            log.error("%s", problem)  # noqa: TRY400 - as above
        return last_good


def refuse_nothing(files: Files, settings: Settings) -> None:
    """Refuse a policy without any file where there was one before: a folder that is not mounted looks like that."""
    if not files.sources:
        place = Place(settings.rules.name, 1, 1)
        message = "no rules file is left; an empty policy does not take the place of one that has rules"
        raise ProblemsError((Problem(place, message, "no_files"),))
    if files.canary is not None:
        refuse_no_canary(files.canary, settings)


def refuse_no_canary(files: Files, settings: Settings) -> None:
    """Refuse a canary without any file."""
    if not files.sources:
        assert settings.policy.canary is not None
        place = Place(settings.policy.canary.name, 1, 1)
        raise ProblemsError((Problem(place, "no rules file is here; it is the canary's", "no_files"),))


def _read(settings: Settings, canary: Path | None) -> Files:
    for _ in range(_STILL_TRIES):
        try:
            return read_files(settings.rules, canary)
        except ChangingError:
            time.sleep(_STILL_SECONDS)
    raise OSError(f"the files in {settings.rules} change all the time")


def _examined(files: Files, settings: Settings, by: By, kept: KeptPolicies | None = None) -> Beginning:
    began = time.time()
    examined, rules = examine(files.sources, files.cases, settings)
    before = _in_force(kept) if kept is not None else None
    problems, canary = examined.problems, None
    if files.canary is not None and before is not None:
        beside, usable = examine(files.canary.sources, files.canary.cases, settings)
        problems = (*problems, *beside.problems)
        if usable is not None:
            canary = canary_of(before.percent, files.canary.sources, beside)
    if rules is None or any(problem.severity is Severity.ERROR for problem in problems):
        raise ProblemsError(problems)
    chosen = PolicySet(files.sources, examined.revision, time.time(), by, examined.rules, canary=canary)
    if before is not None:
        revisions = examined.revision, "" if canary is None else canary.revision
        if (before.revision, before.canary_revision) == revisions:
            chosen = replace(chosen, number=before.number, previous=before.previous)
        else:
            chosen = replace(chosen, previous=before.number)
    seconds = round(max(0.0, chosen.at - began), 3)
    message = f"revision {examined.revision} is in force"
    return Beginning(chosen, rules, files.seen, problems, message, seconds=seconds)


def _last_good(
    kept: KeptPolicies, settings: Settings, by: By, seen: Seen, began: float, fault: Exception | None = None
) -> Beginning | None:
    """The policy that was in force, where it is kept and can be used with these settings."""
    in_force = _in_force(kept)
    if in_force is None:
        return None
    try:
        sources, beside = kept.sources(in_force), kept.canary_sources(in_force)
    except (DamagedError, OSError) as damage:
        log.error("the last good policy cannot be used: %s", damage)  # noqa: TRY400 - it says all
        return None
    examined, rules = examine(sources, (), settings)
    if rules is None:
        log.error("the last good policy, revision %s, does not fit this configuration", in_force.revision)
        return None
    canary = None
    if in_force.percent and settings.policy.canary is not None:
        second, usable = examine(beside, (), settings)
        if usable is None:
            log.error("the last good canary, revision %s, does not fit this configuration", in_force.canary_revision)
        else:
            canary = canary_of(in_force.percent, beside, second)
    chosen = PolicySet(
        sources, examined.revision, in_force.at, by, examined.rules, in_force.number, in_force.previous, canary
    )
    problems = fault.problems if isinstance(fault, ProblemsError) else ()
    message = "a rollback holds" if fault is None else _sentence(fault)
    held = _held(kept)
    against = held[1] if held is not None else ""
    seconds = round(max(0.0, time.time() - began), 3)
    return Beginning(chosen, rules, seen, problems, message, against, seconds)


def _in_force(kept: KeptPolicies) -> KeptSet | None:
    try:
        in_force = kept.in_force()
        return None if in_force is None else kept.find(in_force.number)
    except (DamagedError, OSError) as damage:
        log.error("the last good policy cannot be used: %s", damage)  # noqa: TRY400 - it says all
        return None


def _held(kept: KeptPolicies) -> tuple[int, str] | None:
    try:
        in_force = kept.in_force()
    except (DamagedError, OSError):
        return None
    return (in_force.number, in_force.held_against) if in_force is not None and in_force.held_against else None


def _sentence(fault: Exception) -> str:
    if isinstance(fault, ProblemsError):
        count = len(fault.problems)
        return f"{count} problem{'' if count == 1 else 's'}"
    return str(fault)
