"""Which endpoints are draining: kept below ``state``, so that a restart and a worker that begins anew know it too."""

import contextlib
from pathlib import Path

import msgspec

_FILE = "draining.json"
_Kept = list[tuple[str, str]]  # of cluster and endpoint


def draining(state: Path) -> tuple[tuple[str, str], ...]:
    """The clusters and endpoints that are draining; none where the file cannot be read."""
    try:
        return tuple(msgspec.json.decode((state / _FILE).read_bytes(), type=_Kept))
    except (OSError, msgspec.DecodeError):
        return ()


def keep_draining(state: Path, cluster: str, endpoint: str, *, on: bool) -> None:
    """Note that an endpoint is draining, or no longer is. Raises ``OSError``."""
    kept = [each for each in draining(state) if each != (cluster, endpoint)]
    if on:
        kept.append((cluster, endpoint))
    file, fresh = state / _FILE, state / f".{_FILE}.new"
    if not kept:
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
        return
    state.mkdir(parents=True, exist_ok=True)
    fresh.write_bytes(msgspec.json.encode(kept))
    fresh.replace(file)
