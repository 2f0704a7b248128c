"""What the demo and the scenario player write: columns and colours on a terminal, plain lines elsewhere."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.text import Text

from interceptor.cli.story import Line, Sum
from interceptor.simulator.scenario.form import Scenario
from interceptor.simulator.scenario.playing import Outcome

if TYPE_CHECKING:
    from rich.live import Live

    from interceptor.cli.stage import Stage


_COLUMNS = 100
"""What a terminal needs for what is told in columns; in a narrower one everything begins at the left."""
_NOTES_AT = 67
_BELOW = 8


class Screen:
    """Writes to standard output. ``live`` is a terminal: a line of sums is kept at its foot, no word is broken."""

    def __init__(self, *, live: bool, console: Console | None = None) -> None:
        self.live = live
        # Without a terminal nobody knows how wide a page is: a line stays a line, for those who search in it.
        self._console = console or (Console(highlight=False) if live else Console(highlight=False, width=10_000))
        self._running: Live | None = None
        self._counts: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self.live:
            from rich.live import Live

            self._running = Live(self._foot(), console=self._console, refresh_per_second=8, transient=True)
            self._running.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.stop()

    def addresses(self, stage: "Stage") -> None:
        """Who is there, and where."""
        for name, address in stage.addresses.items():
            if name != "admin":
                self._print(f"Interceptor takes {name} on {address}")
        for name, pbx in stage.pbxs.items():
            self._print(f"the PBX {name} listens on {pbx.url}")
        for name, app in stage.apps.items():
            self._print(f"the app {name} listens on {app.url}")
        self._look_at(stage)

    def _look_at(self, stage: "Stage") -> None:
        admin = stage.addresses["admin"]
        pages = ", ".join(f"http://{admin}/{page}" for page in ("metrics", "livez", "readyz", "config", "policy"))
        self._print(f"look at {pages}")

    def begin(self, scenario: Scenario) -> None:
        """A scenario begins."""
        self._print()
        self._print(Text(f"▶ {scenario.name}", style="bold"))
        if scenario.note:
            self._print(Text(f"  {scenario.note.strip()}", style="dim"))

    def left_out(self, scenario: Scenario, missing: list[str]) -> None:
        """A scenario that needs somebody who is not there."""
        self._print()
        self._print(f"– left out: {scenario.name} (the configuration has no {', '.join(missing)})")

    def line(self, line: Line) -> None:
        """A message has passed, or has not."""
        self._counts[line.verdict] = self._counts.get(line.verdict, 0) + 1
        columns = not self.live or self._console.width >= _COLUMNS
        told = Text("    ")
        if columns:
            told.append(f"{line.way:<26} {line.message:<20} {line.number:<14} ")
        else:
            told.append("".join(f"{part}  " for part in (line.way, line.message, line.number) if part))
        told.append(f"{line.verdict:<10}" if columns else line.verdict, style=f"bold {line.colour}")
        because = Text(line.because, style="dim")
        gap = " " if columns else "  "
        if self._fits(told.cell_len + len(gap) + because.cell_len):
            self._print(told.append(gap).append_text(because))
        else:
            self._print(told, _BELOW)
            self._print_at(_BELOW, because)
        for note in line.notes:
            at = _NOTES_AT if columns and self._fits(_NOTES_AT + len(note.text)) else _BELOW
            self._print_at(at, Text(note.text, style=note.colour))
        if self._running is not None:
            self._running.update(self._foot())

    def outcome(self, outcome: Outcome) -> None:
        """A step of a scenario was taken."""
        told = Text("  ✓ " if outcome.good else "  ✗ ", style="green" if outcome.good else "bold red")
        told.append(outcome.step.told, style="" if outcome.good else "bold red")
        if not outcome.good:
            told.append(f" — {outcome.detail} ({outcome.step.place})")
        self._print(told)

    def sum(self, total: Sum, stage: "Stage") -> None:
        """What it all amounts to, and where to look."""
        calls = sum(len(pbx.core.calls.history) + len(pbx.core.calls.active) for pbx in stage.pbxs.values())
        self._print()
        self._print(Text("summary", style="bold"))
        rows = (
            ("calls", calls),
            ("commands", total.commands),
            ("notifications", total.notifications),
            ("allowed", total.allowed),
            ("refused", total.refused),
            ("rewritten", total.rewritten),
            ("rerouted", total.rerouted),
            ("answered by a rule", total.answered_by_rule),
            ("fallbacks", total.fallbacks),
            ("commands that no PBX answered", total.failed),
            ("verbs refused", total.verbs_refused),
            ("verbs rewritten", total.verbs_rewritten),
        )
        for name, count in rows:
            self._print(f"  {name:<30} {count:>6}")
        for what, reasons in (("", total.refused_because), ("verbs ", total.verbs_refused_because)):
            for why, count in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0])):
                self._print(f"    {what}refused by {why}: {count}")
        self._look_at(stage)

    def _foot(self) -> Text:
        foot = Text(" · ".join(f"{name} {count}" for name, count in self._counts.items()), style="reverse")
        return foot + Text("   Ctrl-C ends", style="dim")

    def _fits(self, columns: int) -> bool:
        return not self.live or columns <= self._console.width

    def _print_at(self, indent: int, what: Text) -> None:
        self._print(Text(" " * indent) + what, indent)

    def _print(self, what: Text | str = "", indent: int = 4) -> None:
        """Write a line; on a terminal that is too narrow for it, lines, those after the first one indented so far."""
        text = Text(what) if isinstance(what, str) else what
        if self._fits(text.cell_len):
            self._console.print(text, soft_wrap=True)
            return
        for number, part in enumerate(text.wrap(self._console, max(_BELOW, self._console.width - indent))):
            part.rstrip()
            self._console.print(Text(" " * indent if number else "") + part, soft_wrap=True)
