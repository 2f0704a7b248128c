"""What mitmproxy imports and none of our listeners uses: 28 MB in every worker that has it (``docs/adr/0015``).

mitmproxy's package of addons imports every one of them, with Flask, LDAP and a clipboard, and we use four. So the
package stands here without its own code, and gives the modules that are asked for.

In place of a library that only serves what is never switched on stands a module with every name that it is asked for.
Each is a class of which there can be no instance: annotations and unions hold, ``isinstance`` says no, and whoever
wants to use one gets a :class:`LeftOutError`. What is imported already is left as it is.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final, NoReturn

_ADDONS: Final = "mitmproxy.addons"
LEFT_OUT: Final = (
    "aioquic",  # QUIC
    "mitmproxy.proxy.layers.http._http3",
    "mitmproxy.proxy.layers.quic",
    "mitmproxy_rs",  # UDP, WireGuard, traffic of this machine's own programs
    "mitmproxy.command_lexer",  # commands that are typed into mitmproxy's console
    "pyparsing",
    "ruamel.yaml",  # mitmproxy's own configuration file
)


class LeftOutError(Exception):
    """A part of mitmproxy was to be used that is left out."""


def leave_out() -> None:
    """From now on, what mitmproxy imports and we do not use is not there."""
    if _ADDONS not in sys.modules:
        _empty_addons()
    names = tuple(name for name in LEFT_OUT if name not in sys.modules)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(names))


def _empty_addons() -> None:
    spec = find_spec(_ADDONS)
    if spec is None or spec.submodule_search_locations is None:
        return  # another layout of mitmproxy: then its own import does what it does
    package = ModuleType(_ADDONS)
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    sys.modules[_ADDONS] = package


class _Finder(MetaPathFinder, Loader):
    """Finds these modules, and what is below them, before anybody looks for their files."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = frozenset(names)
        self._below = tuple(f"{name}." for name in names)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The way to the module, where it is left out."""
        del path, target
        if fullname in self._names or fullname.startswith(self._below):
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """A module in its place."""
        return _LeftOut(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to run."""


class _LeftOut(ModuleType):
    """A module that has every name that it is asked for."""

    def __getattr__(self, name: str) -> "_Nothing":
        return _nothing(self.__name__, name)


class _Nothing(type):
    """A class without instances, which has every name as well."""

    def __getattr__(cls, name: str) -> "_Nothing":
        return _nothing(cls.__module__, f"{cls.__qualname__}.{name}")

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        raise LeftOutError(f"{cls.__module__}.{cls.__qualname__} is left out (interceptor/gateway/left_out.py)")


def _nothing(module: str, name: str) -> _Nothing:
    if name.rpartition(".")[2].startswith("__"):  # those mean something to Python
        raise AttributeError(name)
    return _Nothing(name, (), {"__module__": module, "__qualname__": name})
