"""Notifications that must arrive but not now: kept on disk, delivered later, in order."""

from interceptor.outbox.log import Entry, OutboxError, OutboxInUseError
from interceptor.outbox.outbox import Outbox, Queue, Watcher

__all__ = ["Entry", "Outbox", "OutboxError", "OutboxInUseError", "Queue", "Watcher"]
