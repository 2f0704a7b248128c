"""Who can be called: extensions as the PBX knows them, phones as people use them, and lines to the outside.

An extension is configuration (``AddConfig``, ``GetConfig``); a phone is behaviour (how soon somebody picks up, how long
they talk). A number that looks public and has no phone of its own is answered by ``outside``.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

API = "API"
SIP = "SIP"
EXTENSION_TYPES = (API, SIP, "IVR", "Voicemail", "CallQueue", "SQL", "SMS")
API_LIKE = frozenset({API, "IVR", "SQL"})
"""Types whose calls are run by OzML."""


class Phone(Struct, frozen=True, kw_only=True):
    """How the one behind a number behaves. ``answers_after_seconds`` of ``None``: nobody ever picks up."""

    number: str
    answers_after_seconds: float | None = 2.0
    busy: bool = False
    talks_seconds: float | None = None  # None: never hangs up first


class Extension(Struct, frozen=True, kw_only=True):
    """One extension's configuration, in the words of the PBX's ``Config`` element."""

    id: str
    type: str = SIP
    authorization_name: str = ""
    password: str = ""
    username: str = ""
    enabled: bool = True
    user_id: str = ""
    last_ip_address: str = ""
    user_agent_name: str = ""


class Directory:
    """Every number that this PBX can reach. Bounded by ``capacity`` extensions and as many phones."""

    def __init__(
        self, extensions: Iterable[Extension] = (), phones: Iterable[Phone] = (), *, capacity: int = 10_000
    ) -> None:
        self.outside: Phone | None = Phone(number="*")
        self.lines: set[str] = {"Outside"}
        self._extensions = {extension.id: extension for extension in extensions}
        self._phones = {phone.number: phone for phone in phones}
        self._capacity = capacity

    def __iter__(self) -> Iterator[Extension]:
        return iter(list(self._extensions.values()))

    def extension(self, number: str) -> Extension | None:
        """The extension of that id, whether enabled or not."""
        return self._extensions.get(number)

    def is_full(self) -> bool:
        """Whether nothing more may be added."""
        return len(self._extensions) >= self._capacity

    def keep(self, extension: Extension) -> None:
        """Add or replace an extension."""
        if extension.id in self._extensions or not self.is_full():
            self._extensions[extension.id] = extension

    def forget(self, number: str) -> None:
        """Take an extension out."""
        self._extensions.pop(number, None)

    def set_phone(self, phone: Phone) -> None:
        """Give a number this behaviour from now on."""
        if phone.number in self._phones or len(self._phones) < self._capacity:
            self._phones[phone.number] = phone

    def is_run_by_api(self, number: str) -> bool:
        """Whether a call to this number is run by OzML."""
        extension = self._extensions.get(number)
        return extension is not None and extension.enabled and extension.type in API_LIKE

    def first_api_extension(self) -> str | None:
        """The extension that acts where a command names none."""
        return next((e.id for e in self._extensions.values() if e.enabled and e.type in API_LIKE), None)

    def phone(self, number: str) -> Phone | None:
        """Who rings when this number is dialled, or ``None`` for a number that does not exist."""
        if number in self._phones:
            return self._phones[number]
        extension = self._extensions.get(number)
        if extension is not None:
            return Phone(number=number) if extension.enabled else None
        if self.outside is not None and is_public(number):
            return replace(self.outside, number=number)
        return None


def is_public(number: str) -> bool:
    """Whether a number leaves the house: it has a plus, or a prefix for lines outside, or is long."""
    digits = number.removeprefix("+")
    return digits.isdigit() and (
        number.startswith("+") or len(digits) > 5 or digits in {"104", "105", "107", "112", "911"}
    )
