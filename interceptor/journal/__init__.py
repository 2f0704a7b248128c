"""The journal: audit records on disk, durable by group commit. ``audit/`` says what a record is."""

from interceptor.journal.chain import JournalError, JournalInUseError, Repair
from interceptor.journal.journal import Journal, Statistics, Watcher

__all__ = ["Journal", "JournalError", "JournalInUseError", "Repair", "Statistics", "Watcher"]
