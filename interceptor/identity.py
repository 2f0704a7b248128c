"""Which app asks: by its source address, by its user name and password, or by both.

How an asker is told apart:

1. A user name that belongs to an app decides: the address must lie in that app's ``sources`` (if it has any) and the
   password must be right. It never falls back to the address, so a wrong password is never a way in.
2. Any other sender is known by its address: the app with the most specific network wins. Apps with a user name are not
   found this way. A user name that is no app's is then the PBX's own matter and passes on.
3. Else the refusal is the PBX's: 307 where no app may ask from this address, 304 where credentials are missing, 305
   where they are wrong. Code 306 (a known user may not do this) is the policy's.

Laws of this module: no clock, no dice, no I/O (``now`` and ``key`` come from outside); no password is kept, only its
keyed digest; every table has a bound; a wrong password never costs more than the attempts allowed.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec import Struct

from interceptor.settings import App
from interceptor.values import Refusal
from interceptor.wire.codes import Code, sentence

CREDENTIALS_MISSING = Refusal(Code.AUTHENTICATION_REQUIRED, sentence(Code.AUTHENTICATION_REQUIRED))
CREDENTIALS_WRONG = Refusal(Code.AUTHENTICATION_FAILED, sentence(Code.AUTHENTICATION_FAILED))
ADDRESS_FORBIDDEN = Refusal(Code.FORBIDDEN_ADDRESS, sentence(Code.FORBIDDEN_ADDRESS))

_Network = IPv4Network | IPv6Network


class ScryptHash(Struct, frozen=True):
    """A password's scrypt hash, written ``scrypt$ln$r$p$salt$hash``; salt and hash are unpadded base64."""

    log2_n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    def __str__(self) -> str:
        return f"scrypt${self.log2_n}${self.r}${self.p}${_text64(self.salt)}${_text64(self.digest)}"

    def holds(self, password: bytes) -> bool:
        """Whether this is the password. Costs what ``log2_n`` and ``r`` say: 16 MiB and some 40 ms for 14 and 8."""
        return hmac.compare_digest(self.digest, _scrypt(password, self.salt, self.log2_n, self.r, self.p))


def hash_password(password: str, salt: bytes, *, log2_n: int = 14, r: int = 8, p: int = 1) -> ScryptHash:
    """The hash to write into the configuration; ``salt`` is 16 random bytes."""
    return ScryptHash(log2_n, r, p, salt, _scrypt(_bytes(password), salt, log2_n, r, p))


def read_scrypt(text: str) -> ScryptHash | str:
    """The hash that was written, or a sentence that says what is wrong with it."""
    parts = text.strip().split("$")
    if len(parts) != 6 or parts[0] != "scrypt":
        return "a password hash is written `scrypt$ln$r$p$salt$hash`, as `interceptor hash-password` prints it"
    numbers = parts[1:4]
    if not all(number.isascii() and number.isdigit() and len(number) < 4 for number in numbers):
        return "`ln`, `r` and `p` of a password hash are whole numbers"
    log2_n, r, p = map(int, numbers)
    # The upper bound keeps one check from taking the memory or the seconds of everybody else.
    if not (10 <= log2_n <= 17 and 1 <= r <= 16 and 1 <= p <= 4):
        return "a password hash has `ln` from 10 to 17, `r` from 1 to 16 and `p` from 1 to 4"
    try:
        salt, digest = _bytes64(parts[4]), _bytes64(parts[5])
    except (binascii.Error, ValueError):
        return "salt and hash of a password hash are base64"
    if len(salt) < 8 or len(digest) != 32:
        return "a password hash has a salt of 8 bytes or more and 32 bytes of hash"
    return ScryptHash(log2_n, r, p, salt, digest)


class Identifier:
    """Says which app asks. One for each worker; the tables it remembers in are bounded.

    ``key`` is random and of this process: it keys the digests of passwords. ``attempts`` is how many wrong passwords
    are really computed for one source within ``window_seconds``, and ``attempts_in_all`` for all sources together; what
    comes beyond that is refused unseen, so that nobody can make us hash all day. Only a password seen to be right
    before passes meanwhile.
    """

    def __init__(
        self,
        apps: Iterable[App],
        key: bytes,
        *,
        attempts: int = 5,
        attempts_in_all: int = 60,
        window_seconds: float = 60.0,
        remembered_sources: int = 65_536,
    ) -> None:
        self._digest_start = hashlib.blake2b(key=key[:64], digest_size=16)
        self._users: dict[str, _User] = {}
        networks: list[tuple[_Network, str]] = []
        self._user_networks: list[_Network] = []
        hashes: list[ScryptHash] = []
        for app in apps:
            if app.username is None:
                networks.extend((network, app.name) for network in app.sources)
                continue
            user = self._user(app)
            self._users[app.username] = user
            if user.hash is not None:
                hashes.append(user.hash)
            self._user_networks.extend(app.sources or _ANYWHERE)
        # Most specific first; a stable sort keeps the order of config among equals, which config refuses anyway.
        networks.sort(key=lambda pair: -pair[0].prefixlen)
        self._networks = tuple(networks)
        self._decoy = max(hashes, key=lambda found: found.log2_n, default=None)
        self._apps_by_source: dict[str, str] = {}
        self._remembered_sources = remembered_sources
        self._failures = _Failures(attempts, attempts_in_all, window_seconds)

    def identify(self, source: str, username: str | None, password: str | None, now: float) -> str | Refusal:
        """The name of the app that asks, or what to tell a sender that is none."""
        user = self._users.get(username) if username is not None else None
        if user is None:
            known = self._apps_by_source.get(source)
            if known is not None:
                return known
            return self._by_source(source, username, password, now)
        if password is None:
            return CREDENTIALS_MISSING if user.allows(source, self._remembered_sources) else ADDRESS_FORBIDDEN
        if not user.allows(source, self._remembered_sources):
            return ADDRESS_FORBIDDEN
        start = self._digest_start.copy()
        start.update(_bytes(password))
        digest = start.digest()
        if user.digest is not None and hmac.compare_digest(user.digest, digest):
            return user.app
        return self._first_time(user, source, password, digest, now)

    def _user(self, app: App) -> "_User":
        check = app.password
        found: ScryptHash | None = None
        digest: bytes | None = None
        if check is not None and check.scrypt is not None:
            read = read_scrypt(check.scrypt)
            found = read if isinstance(read, ScryptHash) else None
        elif check is not None and check.secret is not None:
            start = self._digest_start.copy()
            start.update(_bytes(check.secret.reveal()))
            digest = start.digest()
        return _User(app.name, app.sources, digest, found)

    def _first_time(self, user: "_User", source: str, password: str, digest: bytes, now: float) -> str | Refusal:
        if user.hash is None:  # a secret from env or file: its digest said no
            return CREDENTIALS_WRONG
        if not self._failures.may_try(source, now):
            return CREDENTIALS_WRONG
        if user.hash.holds(_bytes(password)):
            user.digest = digest
            return user.app
        self._failures.count(source)
        return CREDENTIALS_WRONG

    def _by_source(self, source: str, username: str | None, password: str | None, now: float) -> str | Refusal:
        address = _address(source)
        if address is not None:
            for network, name in self._networks:
                if address in network:
                    if len(self._apps_by_source) >= self._remembered_sources:
                        self._apps_by_source.clear()
                    self._apps_by_source[source] = name
                    return name
        if not _lies_in(address, self._user_networks):
            return ADDRESS_FORBIDDEN
        if username is None or password is None:
            return CREDENTIALS_MISSING
        # An unknown name takes the time of a wrong password, so that names cannot be found out by the clock.
        if self._decoy is not None and self._failures.may_try(source, now):
            self._decoy.holds(_bytes(password))
            self._failures.count(source)
        return CREDENTIALS_WRONG


class _User:
    """An app known by its user name. ``digest`` is the keyed digest of its password, once that is known."""

    __slots__ = ("_allowed", "_sources", "app", "digest", "hash")

    def __init__(
        self, app: str, sources: tuple[_Network, ...], digest: bytes | None, scrypt_hash: ScryptHash | None
    ) -> None:
        self.app = app
        self.digest = digest
        self.hash = scrypt_hash
        self._sources = sources
        self._allowed: dict[str, bool] = {}

    def allows(self, source: str, remembered: int) -> bool:
        if not self._sources:
            return True
        allowed = self._allowed.get(source)
        if allowed is None:
            allowed = _lies_in(_address(source), self._sources)
            if len(self._allowed) >= remembered:
                self._allowed.clear()
            self._allowed[source] = allowed
        return allowed


class _Failures:
    """Wrong passwords that were really computed, counted for each source and in all, within a window of time."""

    def __init__(self, each: int, in_all: int, window_seconds: float) -> None:
        self._each = each
        self._in_all = in_all
        self._window = window_seconds
        self._counts: dict[str, int] = {}
        self._total = 0
        self._began = float("-inf")

    def may_try(self, source: str, now: float) -> bool:
        # One window for all: it empties the whole table at once, and a clock set back cannot lock anybody out for long.
        if not self._began <= now < self._began + self._window:
            self._began = now
            self._total = 0
            self._counts.clear()
        return self._total < self._in_all and self._counts.get(_neighbourhood(source), 0) < self._each

    def count(self, source: str) -> None:
        # The table never holds more sources than ``in_all`` allows failures.
        place = _neighbourhood(source)
        self._total += 1
        self._counts[place] = self._counts.get(place, 0) + 1


_ANYWHERE: tuple[_Network, ...] = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def _address(source: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(source)
    except ValueError:
        return None
    # A listener on both families shows IPv4 peers as ::ffff:192.0.2.1; config names them as IPv4.
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _lies_in(address: IPv4Address | IPv6Address | None, networks: Iterable[_Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _neighbourhood(source: str) -> str:
    # One IPv6 host owns a whole /64 and would otherwise have as many tries as it has addresses.
    address = _address(source)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address)


def _bytes(password: str) -> bytes:
    try:
        return password.encode()
    except UnicodeEncodeError:  # what was not UTF-8 on the wire arrives as surrogates; any text must have bytes
        return password.encode("utf-8", "surrogatepass")


def _scrypt(password: bytes, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    cost = 1 << log2_n
    return hashlib.scrypt(password, salt=salt, n=cost, r=r, p=p, dklen=32, maxmem=128 * r * (cost + p + 2) + (1 << 20))


def _text64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii").rstrip("=")


def _bytes64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
