"""Where an app may point the PBX: the hosts and networks that config names for it, and nothing inside by accident.

A name is judged when it is written and its addresses once more when they are known: a name that somebody else may
change is no promise. Loopback, link-local (the metadata services of clouds live there), unspecified, multicast and
reserved addresses are refused unless a network or an address of ``allow`` names them.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from msgspec import Struct

from interceptor.settings import App

_Network = IPv4Network | IPv6Network
_METADATA = frozenset(ip_address(each) for each in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200"))


class Allowed(Struct, frozen=True):
    """What one app may name: hosts in lower case (``*.`` before one stands for anything below it), and networks."""

    hosts: frozenset[str]
    below: tuple[str, ...]
    networks: tuple[_Network, ...]


class Targets:
    """Judges the addresses that apps write. Where config names nothing for an app, those that config gives it."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._allowed = {name: _allowed(app) for name, app in apps.items()}

    def refuses(self, app: str, url: str) -> str:
        """Why the app may not use this address, in words; empty where it may."""
        allowed = self._allowed.get(app, _NOTHING)
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            named = bool(host) and parts.username is None and parts.port != 0
        except ValueError:
            named = False
        if not named:
            return "the callback names no host that can be asked"
        address = _address(host)
        if address is None:
            known = host in allowed.hosts or any(host.endswith(end) for end in allowed.below)
        else:
            inside = any(address in network for network in allowed.networks)
            known = inside or (host in allowed.hosts and not _is_special(address))
        return "" if known else f"callbacks to {host} are not allowed for this app"

    def reaches(self, app: str, address: str) -> bool:
        """Whether an address that an allowed name resolved to may be connected to."""
        found = _address(address)
        if found is None:
            return False
        networks = self._allowed.get(app, _NOTHING).networks
        return not _is_special(found) or any(found in network for network in networks)


_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
_NOTHING = Allowed(frozenset(), (), ())


def _allowed(app: App) -> Allowed:
    written = app.callbacks
    if written is None:  # what config says of the app anyway
        urls = [url for url in (app.url, *app.urls.values()) if url is not None]
        written = tuple(url.host for url in urls)
        written += tuple(host for host in written if _address(host) is not None)
    hosts: set[str] = set()
    below: list[str] = []
    networks: list[_Network] = []
    for each in written:
        try:
            networks.append(ip_network(each.strip("[]")))
        except ValueError:
            if each.startswith("*."):
                below.append(each[1:].lower())
            else:
                hosts.add(each.lower())
                if each.lower() == "localhost":
                    networks += _LOOPBACK
    return Allowed(frozenset(hosts), tuple(below), tuple(networks))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_special(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
        or address.is_reserved
        or address in _METADATA
    )
