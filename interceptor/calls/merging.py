"""Calls whose messages came to several workers: brought together as if one had seen all of them."""

from collections.abc import Iterable, Sequence

from interceptor.calls.call import Call
from interceptor.calls.fold import Bounds, Calls


def merged(parts: Sequence[Sequence[Call]], bounds: Bounds) -> list[Call]:
    """The calls of several folds as one fold makes them; a call that one of them has whole stays as it is there."""
    if len(parts) == 1:
        return list(parts[0])
    whole = {frozenset(_exchanges(call)): call for part in parts for call in part}
    every = sum(len(part) for part in parts)
    fold = Calls(Bounds(every + 1, every + 1, bounds.passages, bounds.idle, bounds.setup, bounds.window))
    fold.feed(passage.sighting for part in parts for call in part for passage in call.passages)
    found = []
    for call in (*fold.open, *fold.recent):
        known = whole.get(frozenset(_exchanges(call)))
        if known is None:
            call.dropped = sum(each.dropped for part in parts for each in part if set(each.ids) & set(call.ids))
        found.append(call if known is None else known)
    return found


def _exchanges(call: Call) -> Iterable[str]:
    return (passage.sighting.exchange for passage in call.passages)
