"""What ``/policy`` tells: the policy in force, how it came there, and what its rules have done."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from interceptor.metrics import Snapshot, families
from interceptor.policy import Source
from interceptor.rollout.beginning import Canary
from interceptor.rollout.examining import Preview, RuleSummary
from interceptor.rollout.rollout import Attempt, Rollout, RolloutError
from interceptor.settings import Settings
from interceptor.values import Kind, Problem, ProblemsError

PROBLEMS: Final = 1000  # told of one attempt


def policy_page(
    rollout: Rollout, snapshot: Snapshot, settings: Settings, revisions: Mapping[str, str]
) -> dict[str, Any]:
    """The whole page. ``revisions`` says what each worker decides by."""
    current = rollout.current
    hits, last, shadow, near = (
        _by_rule(snapshot, family.name)
        for family in (families.RULE_HITS, families.RULE_LAST_HIT, families.SHADOW, families.RULE_NEAR_MISSES)
    )

    def told(rule: RuleSummary) -> dict[str, Any]:
        since = rollout.counted_since(rule.name)
        counted = {
            "hits": hits.get(rule.name, 0) - since.hits,
            "last_hit": _instant(last.get(rule.name, 0.0)),
            "near_misses": near.get(rule.name, 0) - since.near_misses,
        }
        if rule.mode == "shadow":
            counted["would_have"] = shadow.get(rule.name, 0) - since.shadow
        about = {"name": rule.name, "place": rule.place, "mode": rule.mode, "actions": rule.actions}
        return about | {"since": _instant(since.at)} | counted

    return {
        "revision": current.revision,
        "loaded_at": _instant(current.at),
        "loaded_by": current.by.value,
        "matches_files": rollout.matches_files,
        "warnings": rollout.warnings(),
        "workers": revisions,
        "older_policies": _by_rule(snapshot, families.POLICIES_OLDER.name).get("", 0),
        "canary": _canary(current.canary, snapshot),
        "files": _files(current.sources),
        "defaults": {kind.value: settings.defaults[kind].value for kind in Kind},
        "last_attempt": _attempt(rollout.last),
        "history": [
            {
                "revision": kept.revision,
                "loaded_at": _instant(kept.at),
                "loaded_by": kept.by,
                "in_force": kept.number == current.number,
                "canary": {"revision": kept.canary_revision, "share": f"{kept.percent:g}%"} if kept.percent else None,
            }
            for kept in rollout.history
        ],
        "near_miss_samples": _by_rule(snapshot, families.NEAR_MISS_SAMPLES.name).get("", 0),
        "rules": [told(rule) for rule in current.rules],
    }


def _files(sources: Sequence[Source]) -> list[dict[str, Any]]:
    return [
        {"file": source.file, "sha256": sha256(source.data).hexdigest(), "bytes": len(source.data)}
        for source in sources
    ]


def _canary(canary: Canary | None, snapshot: Snapshot) -> dict[str, Any] | None:
    """The canary with what was decided by each revision since it is there."""
    if canary is None:
        return None
    messages: dict[str, dict[str, int]] = {}
    for line in snapshot.series.get(families.CANARY_MESSAGES.name, ()):
        revision, verdict = line.labels
        messages.setdefault(revision, {})[verdict] = int(line.values[0])
    return {
        "revision": canary.revision,
        "share": f"{canary.percent:g}%",
        "messages": messages,
        "files": _files(canary.sources),
    }


def attempt_page(attempt: Attempt, rollout: Rollout) -> dict[str, Any]:
    """What is answered to who asked for an attempt."""
    return _attempt(attempt) | {"in_force": rollout.current.revision}


async def preview_page(rollout: Rollout) -> dict[str, Any]:
    """What a reload would change."""
    page: dict[str, Any] = {"in_force": rollout.current.revision}
    try:
        preview = await rollout.preview()
    except ProblemsError as fault:
        preview = Preview(problems=fault.problems)
    except (RolloutError, OSError) as fault:
        return page | {"outcome": "failed", "message": str(fault)}
    good = preview.difference is not None
    return page | {
        "outcome": "compared" if good else "refused",
        "revision": preview.revision,
        "problems": [_problem(problem) for problem in preview.problems[:PROBLEMS]],
        "rules": {"added": preview.added, "removed": preview.removed, "changed": preview.changed},
        "difference": msgspec.to_builtins(preview.difference),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "at": _instant(attempt.at),
        "by": attempt.by.value,
        "outcome": attempt.outcome.value,
        "message": attempt.message,
        "revision": attempt.revision,
        "seconds": attempt.seconds,
        "problems": [_problem(problem) for problem in attempt.problems[:PROBLEMS]],
        "more_problems": max(0, len(attempt.problems) - PROBLEMS),
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {
        "place": str(problem.place),
        "severity": problem.severity.value,
        "code": problem.code,
        "message": problem.message,
    }


def _by_rule(snapshot: Snapshot, family: str) -> dict[str, int]:
    """The numbers of a family by its one label, ``""`` where it has none."""
    return {line.labels[0] if line.labels else "": int(line.values[0]) for line in snapshot.series.get(family, ())}


def _instant(at: float) -> str:
    """RFC 3339 in UTC to the second; ``""`` for never."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""
