"""What the processes of one server share: the meters of limits."""

from interceptor.state.meters import SharedTable, make_table

__all__ = ["SharedTable", "make_table"]
