"""What the processes of one server share: the meters of limits, the keys of callbacks."""

from interceptor.state.keys import callback_keys
from interceptor.state.meters import SharedTable, make_table

__all__ = ["SharedTable", "callback_keys", "make_table"]
