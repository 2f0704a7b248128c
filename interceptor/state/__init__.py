"""What the processes of one server share: the meters of limits, the keys of callbacks."""

from interceptor.state.keys import callback_keys
from interceptor.state.meters import HOLDINGS, SharedTable, make_tables

__all__ = ["HOLDINGS", "SharedTable", "callback_keys", "make_tables"]
