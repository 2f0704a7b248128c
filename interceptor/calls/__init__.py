"""The call as the unit: messages are joined to calls, and calls have states, legs and a record.

Pure: what is put in are sightings (``interceptor/sightings.py`` makes them of audit records), what comes out are calls.
"""

from interceptor.calls.call import Call, How, Passage, Remark, derived
from interceptor.calls.fold import Bounds, Calls, Counts
from interceptor.calls.sighting import Changed, Closing, Said, Sighting
from interceptor.calls.states import Cause, Signal, State

__all__ = [
    "Bounds",
    "Call",
    "Calls",
    "Cause",
    "Changed",
    "Closing",
    "Counts",
    "How",
    "Passage",
    "Remark",
    "Said",
    "Sighting",
    "Signal",
    "State",
    "derived",
]
