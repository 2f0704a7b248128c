"""From files to what the server is made of: settings, the sources of the rules, and what rules may name.

The server and ``interceptor check`` take the same way, so that what passes the one starts the other.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from interceptor.config import read_config
from interceptor.policy import Context, Source
from interceptor.settings import Settings
from interceptor.values import Place, Problem, ProblemsError
from interceptor.wire import knowledge
from interceptor.wire.numbers import NumberReader

_LARGEST_FILE = 64 << 20
_SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie"))


def load_settings(config: Path, environment: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """The settings in a file. ``OSError`` where it cannot be read, :class:`ProblemsError` where it cannot be used.

    With ``secrets`` false, passwords that come from elsewhere are not looked up: such settings are for checking only.
    """
    with config.open("rb") as opened:
        data = opened.read(_LARGEST_FILE)
    return read_config(data, str(config), base=config.parent, environment=environment, secrets=secrets)


def rule_sources(path: Path) -> tuple[Source, ...]:
    """The rules file ``path``, or every ``*.yaml`` below the folder ``path`` but ``*.test.yaml``, in path order.

    Names begin at the folder, not at the root of the file system: they go into every decision's record, which should
    not change when the folder moves. Hidden files and folders are passed over (mounted configuration keeps its own
    books in them). A file that looks like rules but would not be read is a problem: nobody wants a rule that is
    silently not in force. ``OSError`` where something cannot be read.
    """
    if not path.is_dir():
        return (_source(path, path.name),)
    folder = path.resolve().name
    found: list[Path] = []
    problems: list[Problem] = []
    for where, folders, files in os.walk(path, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file = Path(where, name)
            if name.startswith(".") or name.endswith(".test.yaml"):
                continue
            if name.endswith(".yaml"):
                found.append(file)
            elif name.lower().endswith((".yaml", ".yml")):
                place = Place(f"{folder}/{file.relative_to(path).as_posix()}", 1, 1)
                problems.append(Problem(place, "only files named `*.yaml` are read, rename it", "file_name"))
    if problems:
        raise ProblemsError(tuple(problems))
    found.sort(key=lambda file: file.relative_to(path).parts)
    return tuple(_source(file, f"{folder}/{file.relative_to(path).as_posix()}") for file in found)


def policy_context(settings: Settings) -> Context:
    """What rules may name, with this configuration."""
    return Context(
        commands=knowledge.COMMANDS,
        notifications=knowledge.NOTIFICATIONS,
        verbs=knowledge.VERBS,
        apps=frozenset(settings.apps),
        clusters=frozenset(settings.clusters),
        defaults=settings.defaults,
        zone=settings.time_zone,
        number=NumberReader(settings.country, settings.extensions).read,
        parameters=frozenset(knowledge.PARAMETER_NAMES.values()),
        secrets=knowledge.SECRET_NAMES | _SECRET_HEADERS,
    )


def _source(file: Path, name: str) -> Source:
    with file.open("rb") as opened:
        return Source(name, opened.read(_LARGEST_FILE))


def _fail(fault: OSError) -> None:
    raise fault
