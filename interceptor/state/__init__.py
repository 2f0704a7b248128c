"""What the processes of one server share: the meters of limits, which endpoints are draining, the keys of callbacks."""

from interceptor.state.draining import draining, keep_draining
from interceptor.state.keys import callback_keys
from interceptor.state.meters import BREAKERS, CALLS, FIRSTS, HEALTH, HOLDINGS, TURNS, SharedTable, make_tables

__all__ = [
    "BREAKERS",
    "CALLS",
    "FIRSTS",
    "HEALTH",
    "HOLDINGS",
    "TURNS",
    "SharedTable",
    "callback_keys",
    "draining",
    "keep_draining",
    "make_tables",
]
