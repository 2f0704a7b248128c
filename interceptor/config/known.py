"""Readers of values that something else knows: countries, time zones, commands, notifications, certificates."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers

from interceptor import document
from interceptor.config.reading import Reading, missing, path_below_base, secret, section, text
from interceptor.document import Node, nearest
from interceptor.settings import Secret
from interceptor.wire import knowledge


def country(node: Node, read: Reading, path: str) -> str | None:
    """A country that number plans know, as ISO 3166 writes it."""
    written = text(node, read, path)
    if written is None or written in phonenumbers.SUPPORTED_REGIONS:
        return written
    known = nearest(written, phonenumbers.SUPPORTED_REGIONS) or ", it is two capitals as in ISO 3166, such as `HU`"
    read.problems.add(node.place, f"unknown country `{written}`{known}", "unknown_country")
    return None


def time_zone(node: Node, read: Reading, path: str) -> str | None:
    """A time zone that this system knows."""
    written = text(node, read, path)
    if written is None:
        return None
    try:
        ZoneInfo(written)
    except (KeyError, OSError, ValueError):
        hint = nearest(written, available_timezones())
        read.problems.add(node.place, f"unknown time zone `{written}`{hint}", "unknown_time_zone")
        return None
    return written


def extensions(node: Node, read: Reading, path: str) -> tuple[str, ...] | None:
    """Patterns of extensions: digits, and ``x`` for any digit."""
    found: list[str] = []
    for entry in node.nodes if isinstance(node, document.Items) else (node,):
        written = text(entry, read, path)
        if written is None:
            continue
        if not 0 < len(written) <= 15 or not set(written) <= set("0123456789x"):
            message = f"an extension pattern is digits and `x` for any digit, such as `1xxx`, here is `{written}`"
            read.problems.add(entry.place, message, "bad_extension")
        elif written in found:
            read.problems.add(entry.place, f"`{written}` stands twice in `{path}`", "duplicate")
        else:
            found.append(written)
    return tuple(found)


def certificate(node: Node, read: Reading, path: str) -> Path | None:
    """A PEM file that holds a private key and a certificate."""
    file = path_below_base(node, read, path)
    if file is None or not read.secrets:
        return file
    try:
        with file.open("rb") if file.is_file() else _no_file() as opened:
            data = opened.read(1 << 20)
    except (OSError, ValueError) as fault:
        reason = getattr(fault, "strerror", None) or "no such file"
        read.problems.add(node.place, f"the certificate `{file}` cannot be read: {reason.lower()}", "bad_certificate")
        return None
    for part in (b"CERTIFICATE-----", b"PRIVATE KEY-----"):
        if part not in data:
            what = "certificate" if part.startswith(b"CERT") else "private key"
            read.problems.add(node.place, f"`{file}` holds no {what} in PEM form", "bad_certificate")
            return None
    return file


def _no_file() -> Any:
    raise FileNotFoundError(2, "No such file")


def probe(node: Node, read: Reading, path: str) -> str | None:
    """A command that changes nothing."""
    written = text(node, read, path)
    if written is None:
        return None
    known = knowledge.command(written)
    if known is not None and known.safe_to_repeat:
        return known.name
    harmless = [each for each in knowledge.COMMANDS if (found := knowledge.command(each)) and found.safe_to_repeat]
    hint = nearest(written, harmless) if known is None else f", known are {', '.join(f'`{each}`' for each in harmless)}"
    read.problems.add(node.place, f"`{path}` should be a command that changes nothing, not `{written}`{hint}", "probe")
    return None


def notification(node: Node, read: Reading, path: str) -> str | None:
    """The name of a notification."""
    written = text(node, read, path)
    return None if written is None else notification_name(written, node, read)


def notification_name(written: str, node: Node, read: Reading) -> str | None:
    """The name as the reference spells it; a name it does not know is kept, if it is not nearly one that it knows."""
    known = knowledge.notification(written)
    if known is not None:
        return known.name
    # The PBX may have names that we do not know; only what looks like a slip of the pen is one.
    if hint := nearest(written, knowledge.NOTIFICATIONS):
        read.problems.add(node.place, f"unknown notification `{written}`{hint}", "unknown_notification")
        return None
    return written


def callback_path(node: Node, read: Reading, path: str) -> str | None:
    """The path of a callback, without a query."""
    written = text(node, read, path)
    if written is None or (written.startswith("/") and "?" not in written):
        return written
    read.problems.add(node.place, f"`{path}` should begin with `/` and have no `?`, here is `{written}`", "bad_path")
    return None


_FAILURES = ("ct", "rt", "4xx", "5xx", "all")


def retry_policy(node: Node, read: Reading, path: str) -> tuple[str, ...]:
    """The failures after which an app is asked again: one, or a list."""
    entries = node.nodes if isinstance(node, document.Items) else (node,)
    found = (document.one_of(entry, _FAILURES, read.problems, f"`{path}`") for entry in entries)
    return tuple(dict.fromkeys(word for word in found if word is not None))


_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")


def share(node: Node, read: Reading, path: str) -> float | None:
    """A share of all: ``1%``, ``0.1%``; as a number from 0 to 1."""
    written = text(node, read, path)
    if written is None:
        return None
    found = _SHARE.fullmatch(written.strip())
    if found is None or float(found[1]) > 100:
        message = f"`{path}` should be a share such as `1%`, at most `100%`, here is `{written}`"
        read.problems.add(node.place, message, "not_a_share")
        return None
    return float(found[1]) / 100


def callback_targets(node: Node, read: Reading, path: str) -> tuple[str, ...] | None:
    """``{allow: [HOST or NETWORK, …]}``: where an app may send the PBX."""
    values = section(node, read, path, TARGETS)
    if missing(node, read, path, "allow"):
        return None
    return values.get("allow")


def _targets(node: Node, read: Reading, path: str) -> tuple[str, ...]:
    found: list[str] = []
    for entry in document.items(node, read.problems, f"`{path}`"):
        written = text(entry, read, path)
        if written is None:
            continue
        try:
            ip_network(written)
        except ValueError:
            if not _TARGET.fullmatch(written) or written.replace(".", "").replace("/", "").isdigit():
                here = "" if "@" in written else f", here is `{written}`"  # a password may stand before the @
                message = f"`{path}` should hold hosts (`app.test`, `*.test`) and networks{here}"
                read.problems.add(entry.place, message, "not_a_target")
                continue
        found.append(written)
    return tuple(found)


TARGETS = {"allow": _targets}
_TARGET = re.compile(r"(?:\*\.)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_SHORTEST_KEY = 16


def callback_keys(node: Node, read: Reading, path: str) -> tuple[Secret, ...]:
    """Secrets that seal callbacks, the newest first; long enough that nobody guesses them."""
    found: list[Secret] = []
    for entry in document.items(node, read.problems, f"`{path}`"):
        key = secret(entry, read, path)
        if key is not None and read.secrets and len(key.reveal()) < _SHORTEST_KEY:
            message = f"a key of `{path}` should have at least {_SHORTEST_KEY} characters"
            read.problems.add(entry.place, message, "short_key")
        elif key is not None:
            found.append(key)
    return tuple(found)
