"""Notifications that must arrive but not now: kept on disk, delivered later, in order."""

from interceptor.outbox.log import Entry, OutboxError, OutboxInUseError, Undecided, addresses_in
from interceptor.outbox.outbox import Outbox, Queue, Watcher
from interceptor.outbox.turns import AddressTurn, AddressTurns, Turn, first_table

__all__ = [
    "AddressTurn",
    "AddressTurns",
    "Entry",
    "Outbox",
    "OutboxError",
    "OutboxInUseError",
    "Queue",
    "Turn",
    "Undecided",
    "Watcher",
    "addresses_in",
    "first_table",
]
