"""The admin listener: is it alive, is it ready, what has it counted, what is in force."""

from interceptor.admin.server import AdminServer, AdminSource

__all__ = ["AdminServer", "AdminSource"]
