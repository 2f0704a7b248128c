"""Readers of single values. Each tells the problems what is wrong, at its place, and returns ``None``."""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Problems
from interceptor.identity import read_scrypt
from interceptor.settings import Address, Credentials, Deadlines, PasswordCheck, Secret, Url


class Reading(Struct, frozen=True):
    """What a reader needs beside the node: where to tell problems, where relative paths begin, the environment.

    ``secrets`` says whether passwords are looked up, or only how they are written.
    """

    problems: Problems
    base: Path
    environment: Mapping[str, str]
    secrets: bool = True


Read = Callable[[Node, Reading, str], Any]
Table = Mapping[str, Read]

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?)*")
_ADDRESS: Final = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([0-9]{1,5})")
_URL: Final = re.compile(r"[Hh][Tt][Tt][Pp]://(?:\[([^\[\]/?]*)\]|([^:/?\[\]]*))(?::([0-9]{1,5}))?([/?][!-~]*)?")
_ENVIRONMENT_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_BYTES: Final = 65_536
_NOT_LOOKED_UP: Final = Secret("not looked up")


def section(node: Node, reading: Reading, path: str, table: Table) -> dict[str, Any]:
    """The values of a mapping whose keys are known; what was wrong is left out."""
    what = f"`{path}`" if path else "the configuration"
    values: dict[str, Any] = {}
    for key, child in document.fields(node, table, reading.problems, what).entries:
        read = table.get(key.value)
        value = read(child, reading, f"{path}.{key.value}" if path else key.value) if read is not None else None
        if value is not None:
            values[key.value] = value
    return values


def named(read: Callable[[Node, Reading, str, str], Any]) -> Read:
    """A mapping of names of the operator's choice to things read by ``read``; at least one."""

    def entries(node: Node, reading: Reading, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        mapping = document.fields(node, None, reading.problems, f"`{path}`")
        if not mapping.entries:
            reading.problems.add(node.place, f"`{path}` should hold at least one entry", "empty")
        for key, child in mapping.entries:
            if not _NAME.fullmatch(key.value):
                message = f"a name in `{path}` is made of letters, digits, `-`, `_` and `.`, here is `{key.value}`"
                reading.problems.add(key.place, message, "bad_name")
            thing = read(child, reading, f"{path}.{key.value}", key.value)
            if thing is not None:
                found[key.value] = thing
        return found

    return entries


def missing(node: Node, reading: Reading, path: str, *keys: str) -> bool:
    """Whether one of ``keys`` is not there at all; each is told."""
    absent = [key for key in keys if isinstance(node, Fields) and node.get(key) is None]
    if absent:
        told = ", ".join(f"`{path}.{key}`" if path else f"`{key}`" for key in absent)
        reading.problems.add(node.place, f"{told} {'is' if len(absent) == 1 else 'are'} missing", "missing_key")
    return bool(absent)


# --- plain values ---------------------------------------------------------------------------------------------------


def text(node: Node, reading: Reading, path: str) -> str | None:
    """A text that is not empty."""
    found = document.text(node, reading.problems, f"`{path}`")
    document.warn_unquoted(node, reading.problems)
    if found == "":
        reading.problems.add(node.place, f"`{path}` should not be empty", "empty")
        return None
    return found


def whole(least: int, most: int) -> Read:
    """A whole number within bounds."""
    return lambda node, reading, path: document.whole_number(
        node, reading.problems, f"`{path}`", least=least, most=most
    )


def size(least: int, most: int = 1 << 40) -> Read:
    """A number of bytes within bounds."""

    def read(node: Node, reading: Reading, path: str) -> int | None:
        found = document.byte_size(node, reading.problems, f"`{path}`")
        if found is not None and not least <= found <= most:
            reading.problems.add(
                node.place,
                f"`{path}` should be from {least} to {most} bytes, here is {document.describe(node)}",
                "out_of_bounds",
            )
            return None
        return found

    return read


def duration(node: Node, reading: Reading, path: str) -> float | None:
    """A span of time above zero and below ten days, in seconds."""
    found = document.duration_seconds(node, reading.problems, f"`{path}`")
    if found is not None and not 0 < found <= 864_000:
        reading.problems.add(
            node.place,
            f"`{path}` should be more than 0 and at most 10 days, here is {document.describe(node)}",
            "out_of_bounds",
        )
        return None
    return found


def truth(node: Node, reading: Reading, path: str) -> bool | None:
    """``true`` or ``false``."""
    return document.boolean(node, reading.problems, f"`{path}`")


def choice(*words: str) -> Read:
    """One of a few words."""
    return lambda node, reading, path: document.one_of(node, words, reading.problems, f"`{path}`")


def path_below_base(node: Node, reading: Reading, path: str) -> Path | None:
    """A path; a relative one begins at the folder of the configuration file."""
    found = text(node, reading, path)
    return None if found is None else reading.base / found


def deadlines(node: Node, reading: Reading, path: str) -> Deadlines | None:
    """How long an answer may take: ``{first_byte: 2s, total: 3s}``."""
    found = section(node, reading, path, DEADLINES)
    if missing(node, reading, path, *DEADLINES) or len(found) < len(DEADLINES):
        return None
    if found["first_byte"] > found["total"]:
        message = f"`{path}.first_byte` should not be longer than `{path}.total`"
        reading.problems.add(node.place, message, "out_of_bounds")
        return None
    return Deadlines(**found)


DEADLINES: Table = {"first_byte": duration, "total": duration}


# --- addresses ------------------------------------------------------------------------------------------------------


def _is_ip(text: str, family: type[IPv4Address | IPv6Address]) -> bool:
    try:
        family(text)
    except ValueError:
        return False
    return True


def _host(bracketed: str | None, plain: str | None) -> str | None:
    if bracketed is not None:
        return bracketed if "%" not in bracketed and _is_ip(bracketed, IPv6Address) else None
    if not plain or len(plain) > 253 or not _HOST.fullmatch(plain):
        return None
    # What looks like an IPv4 address must be one: 300.1.1.1 is a slip, not a name.
    return None if plain.replace(".", "").isdigit() and not _is_ip(plain, IPv4Address) else plain


def address(node: Node, reading: Reading, path: str) -> Address | None:
    """Where to listen: ``127.0.0.1:7780`` or ``[::1]:7780``."""
    written = text(node, reading, path)
    if written is None:
        return None
    found = _ADDRESS.fullmatch(written)
    host = _host(found[1], found[2]) if found else None
    if found is None or host is None or int(found[3]) > 65_535:
        message = f"`{path}` should be a host and a port such as `127.0.0.1:7780` or `[::1]:7780`, here is `{written}`"
        reading.problems.add(node.place, message, "bad_address")
        return None
    return Address(host, int(found[3]))


def url(node: Node, reading: Reading, path: str) -> Url | None:
    """An ``http://`` address."""
    written = text(node, reading, path)
    if written is None:
        return None
    if "@" in written.split("//", 1)[-1].split("/", 1)[0]:
        # Not shown: what stands before the @ may be a password.
        reading.problems.add(node.place, f"`{path}` should have no user name and password in it", "bad_url")
        return None
    wrong = ""
    if not written.lower().startswith("http://"):
        wrong = "should begin with `http://`"
    elif "#" in written:
        wrong = "should have no `#`"
    found = None if wrong else _URL.fullmatch(written)
    host = _host(found[1], found[2]) if found else None
    port = int(found[3] or 80) if found else 0
    if found is None or host is None or not 0 < port < 65_536:
        message = f"`{path}` {wrong or 'should be like `http://host:port/path`'}, here is `{written}`"
        reading.problems.add(node.place, message, "bad_url")
        return None
    rest = found[4] or "/"
    return Url(host, port, rest if rest.startswith("/") else f"/{rest}")


def urls(node: Node, reading: Reading, path: str) -> tuple[Url, ...] | None:
    """A list of addresses without queries, each only once."""
    found: list[Url] = []
    for entry in document.items(node, reading.problems, f"`{path}`"):
        one = url(entry, reading, path)
        if one is not None and "?" in one.path:
            reading.problems.add(entry.place, f"an address in `{path}` should have no `?`", "bad_url")
        elif one is not None and one in found:
            reading.problems.add(entry.place, f"`{one}` stands twice in `{path}`", "duplicate")
        elif one is not None:
            found.append(one)
    return tuple(found) or None


def networks(node: Node, reading: Reading, path: str) -> tuple[IPv4Network | IPv6Network, ...] | None:
    """A list of addresses and networks: ``10.0.0.5``, ``10.0.0.0/8``, ``2001:db8::/32``."""
    found: list[IPv4Network | IPv6Network] = []
    for entry in document.items(node, reading.problems, f"`{path}`"):
        written = text(entry, reading, path)
        if written is None:
            continue
        try:
            network = ip_network(written, strict=False)
        except ValueError:
            message = f"`{path}` should be an address or a network such as `10.0.0.0/8`, here is `{written}`"
            reading.problems.add(entry.place, message, "bad_network")
            continue
        if "/" in written and str(network.network_address) != str(ip_network(written.split("/")[0]).network_address):
            message = f"`{written}` has bits set beyond its mask, did you mean `{network}`?"
            reading.problems.add(entry.place, message, "bad_network")
        elif network in found:
            reading.problems.add(entry.place, f"`{network}` stands twice in `{path}`", "duplicate")
        else:
            found.append(network)
    return tuple(found) or None


# --- secrets --------------------------------------------------------------------------------------------------------


def secret(node: Node, reading: Reading, path: str) -> Secret | None:
    """A secret named by ``{env: NAME}`` or ``{file: PATH}``."""
    found = _one_way(node, reading, path, SECRET)
    return found if isinstance(found, Secret) else None


def password_check(node: Node, reading: Reading, path: str) -> PasswordCheck | None:
    """An app's password: ``{env: NAME}``, ``{file: PATH}`` or ``{scrypt: HASH}``."""
    found = _one_way(node, reading, path, PASSWORD)
    if isinstance(found, Secret):
        return PasswordCheck(secret=found)
    return None if found is None else PasswordCheck(scrypt=found)


def credentials(node: Node, reading: Reading, path: str) -> Credentials | None:
    """``{username: …, password: …}``, both."""
    if not isinstance(node, Fields):
        # Not shown: it may be the password.
        message = f"`{path}` should be a mapping with `username` and `password`"
        reading.problems.add(node.place, message, "not_a_mapping")
        return None
    found = section(node, reading, path, CREDENTIALS)
    if missing(node, reading, path, *CREDENTIALS) or len(found) < len(CREDENTIALS):
        return None
    return Credentials(**found)


def _one_way(node: Node, reading: Reading, path: str, table: Table) -> Any:
    ways = " or ".join(f"`{{{way}: …}}`" for way in table)
    if not isinstance(node, Fields):
        # What stands here may be the password itself, so it is not shown.
        message = f"`{path}` does not stand in the file itself, write {ways}"
        reading.problems.add(node.place, message, "plain_secret")
        return None
    if len(node.entries) != 1:
        reading.problems.add(node.place, f"`{path}` should be exactly one of {ways}", "plain_secret")
        return None
    return next(iter(section(node, reading, path, table).values()), None)


def _from_environment(node: Node, reading: Reading, path: str) -> Secret | None:
    name = text(node, reading, path)
    if name is None:
        return None
    if not _ENVIRONMENT_NAME.fullmatch(name):
        # Not shown: somebody may have put the password here instead of a name.
        message = f"`{path}` should be the name of an environment variable"
        reading.problems.add(node.place, message, "bad_environment_name")
        return None
    if not reading.secrets:
        return _NOT_LOOKED_UP
    value = reading.environment.get(name, "")
    if not value:
        state = "empty" if name in reading.environment else "not set"
        reading.problems.add(node.place, f"the environment variable `{name}` is {state}", "secret_missing")
        return None
    return Secret(value)


def _from_file(node: Node, reading: Reading, path: str) -> Secret | None:
    file = path_below_base(node, reading, path)
    if file is None:
        return None
    if not reading.secrets:
        return _NOT_LOOKED_UP
    wrong = ""
    value = ""
    try:
        if file.exists() and not file.is_file():  # reading a pipe would never end
            raise OSError(0, "no regular file")
        with file.open("rb") as opened:
            data = opened.read(_SECRET_BYTES + 1)
        value = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
        if len(data) > _SECRET_BYTES:
            wrong = f"is longer than {_SECRET_BYTES} bytes"
        elif not value:
            wrong = "is empty"
    except OSError as fault:
        wrong = f"cannot be read: {(fault.strerror or type(fault).__name__).lower()}"
    except ValueError:
        wrong = "cannot be read: not UTF-8 text"
    if wrong:
        reading.problems.add(node.place, f"the file `{file}` of `{path}` {wrong}", "secret_missing")
        return None
    return Secret(value)


def _scrypt_hash(node: Node, reading: Reading, path: str) -> str | None:
    written = text(node, reading, path)
    if written is None:
        return None
    read = read_scrypt(written)
    if isinstance(read, str):
        reading.problems.add(node.place, f"`{path}`: {read}", "bad_hash")
        return None
    return str(read)


SECRET: Table = {"env": _from_environment, "file": _from_file}
PASSWORD: Table = {"env": _from_environment, "file": _from_file, "scrypt": _scrypt_hash}
CREDENTIALS: Table = {"username": text, "password": secret}
