"""The keys that seal callbacks: those of config, or one of our own below ``state``."""

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from interceptor.callbacks import Keyring
from interceptor.settings import Settings

_FILE = "callback.key"
_KEY_BYTES = 32


def callback_keys(settings: Settings) -> Keyring | None:
    """The keys, ``None`` where callbacks are not captured. Raises ``OSError`` where our own cannot be read or kept."""
    callbacks = settings.callbacks
    if callbacks.public_url is None:
        return None
    if callbacks.keys:
        return Keyring([hashlib.sha256(key.reveal().encode()).digest() for key in callbacks.keys])
    return Keyring([_own_key(settings.state / _FILE)])


def _own_key(file: Path) -> bytes:
    """The key in ``file``, made where there is none. All workers start at once: the first to make it decides."""
    with contextlib.suppress(FileNotFoundError):
        return _read(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    mine = file.with_name(f".{_FILE}.{os.getpid()}")
    descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(secrets.token_bytes(_KEY_BYTES))
        opened.flush()
        os.fsync(opened.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(mine, file)
    finally:
        mine.unlink()
    return _read(file)


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(0, f"{file} should hold {_KEY_BYTES} bytes; delete it to have a new key made")
    return key
