"""What passes, told for people: a line for each exchange, what a rule changed below it, and a summary at the end."""

from collections import Counter
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from interceptor.audit.record import DecisionRecord, Record, SettlementRecord
from interceptor.settings import Address
from interceptor.values import Kind, Verdict

_STYLES: Final = {Verdict.ALLOW: "green", Verdict.DENY: "red", Verdict.ANSWER: "yellow"}
_OPEN_MOST: Final = 10_000
_HAPPENED: Final = {
    "fallback": "the caller hears the app's fallback",
    "kept": "kept, to be delivered later",
    "dial_plan": "the dial plan decides",
    "lost": "nobody could be told",
}


class Teller:
    """Is told every audit record, and tells people."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._open: dict[str, DecisionRecord] = {}
        self.counts: Counter[str] = Counter()

    def observe(self, record: Record) -> None:
        """An audit record was made."""
        if isinstance(record, DecisionRecord):
            if len(self._open) >= _OPEN_MOST:
                self._open.clear()
            self._open[record.exchange] = record
        elif isinstance(record, SettlementRecord):
            decision = self._open.pop(record.exchange, None)
            if decision is not None:
                self._count(decision, record)
                self._tell(decision, record)

    def scene(self, name: str, note: str) -> None:
        """A scenario begins."""
        self._console.print()
        self._console.print(Text(name, style="bold"))
        if note:
            self._console.print(Text("  " + " ".join(note.split()), style="dim"), soft_wrap=True)

    def step(self, told: str, *, good: bool, detail: str) -> None:
        """A step of a scenario was taken."""
        mark = Text("  · ", style="dim") if good else Text("  ✗ ", style="bold red")
        self._console.print(
            mark + Text(told, style="dim" if good else "red") + Text(f" ({detail})" if detail else ""), soft_wrap=True
        )

    def summary(self, calls: int, addresses: dict[str, Address]) -> None:
        """What it came to, and where to look."""
        counts = self.counts
        table = Table(title="Summary", show_header=False, title_justify="left", box=None, padding=(0, 2))
        rows = (
            ("calls", calls),
            ("commands", counts["command"]),
            ("notifications", counts["notification"]),
            ("refused", counts["refused"]),
            ("rewritten", counts["rewritten"]),
            ("rerouted", counts["rerouted"]),
            ("answered by a rule", counts["rule"]),
            ("fallbacks", counts["fallback"]),
            ("kept for later", counts["kept"]),
            ("on trial (shadow)", counts["shadow"]),
        )
        for name, count in rows:
            table.add_row(name, str(count))
        self._console.print()
        self._console.print(table)
        self._console.print()
        admin = addresses.get("admin")
        for what, where in addresses.items():
            if what != "admin":
                self._console.print(f"  {what:<15} http://{where}")
        if admin is not None:
            for page in ("metrics", "readyz", "policy", "config"):
                self._console.print(f"  {page:<15} http://{admin}/{page}")

    def _count(self, decision: DecisionRecord, settlement: SettlementRecord) -> None:
        counts = self.counts
        counts[decision.kind.value] += 1
        counts["refused"] += decision.verdict is Verdict.DENY
        counts["rewritten"] += bool(decision.changes)
        counts["rerouted"] += decision.kind is Kind.COMMAND and any(
            "pbx" in rule.rpartition(" ")[2] for rule in decision.rules
        )
        counts["shadow"] += bool(decision.shadow)
        if settlement.outcome != "refused":  # counted by its verdict already
            counts[settlement.outcome] += 1

    def _tell(self, decision: DecisionRecord, settlement: SettlementRecord) -> None:
        style = _STYLES[decision.verdict]
        command = decision.kind is Kind.COMMAND
        sender, receiver = (decision.app or decision.source, "PBX") if command else ("PBX", decision.app or "?")
        line = Text("  ")
        line.append(f"{sender} → {receiver}".ljust(19), style="cyan" if command else "magenta")
        line.append(f"{decision.name or '?'} ".ljust(20), style="bold")
        line.append((decision.number or "").ljust(15))
        line.append(f"{decision.verdict.value:<7}", style=style)
        line.append(decision.rule or decision.reason)
        line.append(f"  {_ending(decision, settlement)}", style="dim")
        self._console.print(line, soft_wrap=True)
        for change in decision.changes:
            before, after = change.before or "(none)", change.after or "(none)"
            self._console.print(Text(f"      {change.name}: {before} → {after}", style="yellow"), soft_wrap=True)
        for rule in decision.shadow:
            self._console.print(Text(f"      on trial, would have acted: {rule}", style="blue"), soft_wrap=True)


def _ending(decision: DecisionRecord, settlement: SettlementRecord) -> str:
    parts = []
    if settlement.endpoint:
        parts.append(f"→ {decision.target or settlement.endpoint}")
    if settlement.code is not None:
        parts.append(f"code {settlement.code}")
    if settlement.outcome in _HAPPENED:
        parts.append(_HAPPENED[settlement.outcome])
    parts.append(f"{settlement.total_microseconds / 1000:.1f} ms")
    return ", ".join(parts)
