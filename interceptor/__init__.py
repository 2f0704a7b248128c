"""Interceptor: a routing-interceptor proxy between business applications and an Ozeki Phone System PBX."""

__version__ = "0.1.0"
