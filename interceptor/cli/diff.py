"""``interceptor diff``: which messages two policies decide differently, not which lines of theirs differ."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from interceptor.cli.check import config_beside, is_config
from interceptor.cli.problems import told

if TYPE_CHECKING:
    from interceptor.policy import Context, RuleSet
    from interceptor.policy.analysis import Change, Difference
    from interceptor.settings import Settings


class FailOn(StrEnum):
    """Which differences fail."""

    NEWLY_ALLOWED = "newly-allowed"
    NEWLY_DENIED = "newly-denied"
    ANY = "any"


class Format(StrEnum):
    """How the differences are told."""

    TEXT = "text"
    JSON = "json"


def diff(
    old: Annotated[Path, typer.Argument(help="A configuration file, a rules file or a folder of rules.")],
    new: Annotated[Path, typer.Argument(help="What takes its place.")],
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration that rules are for; else one that stands beside NEW."),
    ] = None,
    fail_on: Annotated[
        list[FailOn] | None, typer.Option("--fail-on", help="Exit with 1 when there are such. May stand several times.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to tell it.")] = Format.TEXT,
) -> None:
    """Tell which messages change their verdict, their way or their parameters when NEW takes the place of OLD.

    Exits with 0, with 1 when there are differences that `--fail-on` names, with 2 when a policy cannot be read or used.
    What cannot be decided counts as a difference of every kind.
    """
    from interceptor.loading import policy_context
    from interceptor.policy.analysis import difference

    with told():
        before, old_rules = _ground(old, config, new)
        after, new_rules = _ground(new, config, new)
    context = policy_context(after)
    old_context = context if before == after else policy_context(before)
    found = difference(_compiled(old_rules, old_context), _compiled(new_rules, context), context, old_context)
    sys.stdout.write(_as_json(found) if form is Format.JSON else as_text(found))
    if any(_fails(found, each) for each in fail_on or []):
        raise typer.Exit(1)


def _ground(path: Path, config: Path | None, beside: Path) -> "tuple[Settings, Path]":
    """The configuration of one side, and where its rules are."""
    from interceptor.loading import load_settings

    if is_config(path):
        settings = load_settings(path, os.environ, secrets=False)
        return settings, settings.rules
    if config is None:
        config = beside if is_config(beside) else config_beside(beside)
    return load_settings(config, os.environ, secrets=False), path


def _compiled(rules: Path, context: "Context") -> "RuleSet":
    from interceptor.loading import rule_sources
    from interceptor.policy import compile_policy

    try:
        with told({rules.resolve().name: rules}):
            return compile_policy(rule_sources(rules), context)
    except typer.Exit:
        raise typer.Exit(2) from None  # a policy with problems cannot be compared, which is no difference


def _fails(found: "Difference", fail_on: FailOn) -> bool:
    if not found.complete:
        return True
    match fail_on:
        case FailOn.NEWLY_ALLOWED:
            return any(change.newly_allowed for change in found.changes)
        case FailOn.NEWLY_DENIED:
            return any(change.newly_denied for change in found.changes)
        case FailOn.ANY:
            return bool(found)


def _as_json(found: "Difference") -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def as_text(found: "Difference") -> str:
    """What differs, for a person."""
    lines = [line for change in found.changes for line in _lines(change)]
    if not found.complete:
        lines.append("the policies are too large to tell every difference")
    return "\n".join(lines or ["no difference"]) + "\n"


def _lines(change: "Change") -> list[str]:
    lines = [f"{box}:" for box in change.messages]
    if change.more:
        lines.append(f"and {change.more} more:")
    before = "" if change.was == change.now else f" (before: {change.was})"
    lines[-1] += f" {change.before} → {change.after}, because of {change.now}{before}"
    shown = f"    for example {change.example}" if change.example else "    perhaps: no such message was found"
    return [*lines, shown]
