"""Tokens: a callback address and where it came from, sealed so that whoever has the keys can open it.

A token is AES-SIV (RFC 5297) over a short MessagePack list, in unpadded base64 for addresses. The synthetic IV makes it
a function of what it says: no die is thrown, no counter kept, and the same callback has the same token on every worker.
It cannot be read or changed without a key; who reads that two tokens are equal learns that two callbacks are.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import Enum

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import Struct

KEY_BYTES = (32, 48, 64)  # two halves: AES-128, AES-192, AES-256
LONGEST = 8 << 10  # characters of a token
_PURPOSE = [b"interceptor callback 1"]


class Unusable(Enum):
    """Why a token leads nowhere. The values stand in the journal and the metrics."""

    FORGED = "callback_forged"  # not sealed with a key of ours, or damaged
    EXPIRED = "callback_expired"
    FOREIGN = "callback_foreign"  # sealed by us for an app that config does not know any more
    FORBIDDEN = "callback_forbidden"  # where the app may not point the PBX, by what config says now

    __hash__ = object.__hash__


class Callback(Struct, frozen=True, array_like=True):
    """What a token stands for.

    ``url`` is the address as the app wrote it, as bytes, since senders need not write UTF-8. ``exchange`` is the
    exchange it was captured in, ``call`` the id of the call it belongs to where that was known, else ``""``,
    ``revision`` the policy's then. ``expires`` is Unix time in whole seconds.
    """

    url: bytes
    app: str
    exchange: str
    call: str
    revision: str
    expires: int


class Keyring:
    """Keys of 32, 48 or 64 bytes: the first seals, all of them open, so that a key can be changed without a loss.

    Raises ``ValueError`` for a key of another length and for no key at all.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) not in KEY_BYTES for key in keys):
            raise ValueError("a key for callbacks has 32, 48 or 64 bytes")
        self._ciphers = tuple(AESSIV(key) for key in keys)
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Callback).decode

    def seal(self, callback: Callback) -> str:
        """The token for a callback: letters, digits, ``-`` and ``_``."""
        sealed = self._ciphers[0].encrypt(self._encode(callback), _PURPOSE)
        return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")

    def open(self, token: str, now: float) -> Callback | Unusable:
        """What a token stands for, or why it leads nowhere; ``now`` is Unix time. Never raises."""
        sealed = _from_base64(token)
        if sealed is None:
            return Unusable.FORGED
        for cipher in self._ciphers:
            try:
                callback = self._decode(cipher.decrypt(sealed, _PURPOSE))
            except (InvalidTag, ValueError, msgspec.MsgspecError):
                continue
            return callback if now < callback.expires else Unusable.EXPIRED
        return Unusable.FORGED


def _from_base64(token: str) -> bytes | None:
    if len(token) > LONGEST or not token.isascii():
        return None
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # Two texts for one token would be two addresses for one callback.
    written = base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")
    return sealed if written == token else None
