"""What a measurement needs to know of a proxy."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field


class Site(Struct, frozen=True):
    """Where a proxy is started: a folder of its own, the port it listens on, a spare port, and the back end's port."""

    folder: Path
    port: int
    spare_port: int
    backend_port: int


class Launch(Struct, frozen=True):
    """How to start a proxy. It is ready when ``ready_path`` on ``ready_port`` answers 200."""

    command: Sequence[str]
    ready_port: int
    ready_path: str
    folder: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    seconds_to_start: float = 30.0


class Contestant(Struct, frozen=True):
    """One proxy in one configuration.

    ``rules`` is the size of its policy, 0 for plain forwarding. With ``all_cores`` it is not pinned to one core.
    """

    key: str
    title: str
    prepare: Callable[[Site], Launch]
    rules: int = 0
    all_cores: bool = False
