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


class Screen:
    """Writes to standard output. ``live`` keeps a line of sums at the foot of the terminal."""

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
        told = Text("    ")
        told.append(f"{line.way:<26} {line.message:<20} {line.number:<14} ")
        told.append(f"{line.verdict:<10}", style=f"bold {line.colour}")
        told.append(f" {line.because}", style="dim")
        self._print(told)
        for note in line.notes:
            self._print(Text(f"    {'':<62} {note.text}", style=note.colour))
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

    def _print(self, what: Text | str = "") -> None:
        self._console.print(what, markup=False, soft_wrap=True)
