"""Callbacks: an app's own addresses go to the PBX as tokens of ours, so that every notification comes back through us.

:class:`Keyring` seals an address into a token and opens it again; :class:`Capture` puts a token in
the place of an address; :class:`Targets` says where an app may point the PBX at all. Nothing here
reads a clock, a die or a name server.
"""

from interceptor.callbacks.capture import Capture, Captured, Origin
from interceptor.callbacks.targets import Targets
from interceptor.callbacks.token import Callback, Keyring, Unusable

__all__ = ["Callback", "Capture", "Captured", "Keyring", "Origin", "Targets", "Unusable"]
