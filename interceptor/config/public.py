"""The settings as anybody may see them: plain values for JSON, no secret among them."""

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from interceptor.settings import Address, PasswordCheck, Secret, Settings, Url

_HIDDEN = "***"


def public(settings: Settings) -> dict[str, Any]:
    """What ``/config`` shows. A password is ``***``, in clear, hashed or by its source alike."""
    shown = _shown(settings)
    assert isinstance(shown, dict)
    return shown


def _shown(value: Any) -> Any:
    match value:
        case Secret() | PasswordCheck():
            return _HIDDEN
        case Url():
            before, mark, _ = str(value).partition("?")
            return before + (mark and f"{mark}{_HIDDEN}")  # a query may carry a token
        case Address() | IPv4Network() | IPv6Network() | Path():
            return str(value)
        case Enum():
            return value.value
        case Struct():
            return {name: _shown(getattr(value, name)) for name in (each.name for each in structs.fields(value))}
        case dict():
            return {_shown(key): _shown(entry) for key, entry in value.items()}
        case tuple():
            return [_shown(entry) for entry in value]
        case _:
            return value
