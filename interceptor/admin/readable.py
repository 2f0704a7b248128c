"""Pages for people: what ``/policy`` tells, as text for a terminal."""

from collections.abc import Mapping
from typing import Any


def readable_policy(page: Mapping[str, Any]) -> str:
    """The page as text."""
    lines = [
        f"revision  {page['revision']}   in force since {page['loaded_at']}, by {page['loaded_by']}",
        f"files     {len(page['files'])}{'' if page['matches_files'] else '   NOT what is in force'}",
    ]
    lines += [f"          {_file(file)}" for file in page["files"]]
    lines += [f"workers   {name} decides by {revision}" for name, revision in page["workers"].items()]
    canary = page["canary"]
    if canary is not None:
        lines.append(f"canary    revision {canary['revision']} decides {canary['share']} of the calls")
        for revision, verdicts in canary["messages"].items():
            counted = ", ".join(f"{verdict} {count}" for verdict, count in verdicts.items())
            lines.append(f"          messages since, by {revision}: {counted}")
        lines += [f"          {_file(file)}" for file in canary["files"]]
    if page["older_policies"]:
        lines.append(f"older     policies that still decide for calls in progress: {page['older_policies']}")
    lines += [f"WARNING   {warning}" for warning in page["warnings"]]
    attempt = page["last_attempt"]
    lines.append(
        f"last try  {attempt['at']}, by {attempt['by']}: {attempt['outcome']}, {attempt['message']}"
        f" ({attempt['seconds']:.1f} s)"
    )
    lines += [f"          {problem['place']}: {problem['message']}" for problem in attempt["problems"]]
    lines += [
        f"history   {kept['revision']}  {kept['loaded_at']}  by {kept['loaded_by']}{_beside(kept['canary'])}"
        + "   in force" * kept["in_force"]
        for kept in page["history"]
    ]
    lines += ["", f"{'hits':>10} {'near':>6} {'last hit':25} rule"]
    for rule in page["rules"]:
        shadow = f"   shadow: would have acted {rule['would_have']} times" if "would_have" in rule else ""
        off = "   off" if rule["mode"] == "off" else ""
        lines.append(
            f"{rule['hits']:>10} {rule['near_misses']:>6} {rule['last_hit'] or '-':25} {rule['name']}"
            f"  ({rule['place']}: {', '.join(rule['actions'])}){shadow}{off}"
        )
    lines.append(f"near misses: of {page['near_miss_samples']} sampled messages")
    return "\n".join(lines) + "\n"


def _beside(canary: Mapping[str, Any] | None) -> str:
    return "" if canary is None else f"  with {canary['revision']} for {canary['share']}"


def _file(file: Mapping[str, Any]) -> str:
    return f"{file['file']}  {file['sha256'][:12]}  {file['bytes']} bytes"
