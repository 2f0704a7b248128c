"""What a scenario file says, as values. ``reading`` makes them, ``world`` sets them up, ``playing`` plays them."""

from msgspec import Struct

from interceptor.simulator.core import Generation
from interceptor.simulator.directory import Extension, Phone
from interceptor.simulator.events import Pairs
from interceptor.simulator.faults import Fault
from interceptor.simulator.pages import Door
from interceptor.values import Place


class PbxForm(Struct, frozen=True, kw_only=True):
    """A PBX that the scenario needs. ``notifications`` maps notification names to an app and a path there.

    ``voicemails`` are what a ``ForEach`` of that name goes through, each by its members.
    """

    name: str
    place: Place
    generation: Generation = Generation.PHONE_SYSTEM
    users: dict[str, str] = {}
    extensions: tuple[Extension, ...] = ()
    phones: tuple[Phone, ...] = ()
    notifications: dict[str, tuple[str, str]] = {}
    voicemails: tuple[dict[str, str], ...] = ()


class AppForm(Struct, frozen=True, kw_only=True):
    """An app that the scenario needs; ``commands`` names the PBX that it asks."""

    name: str
    place: Place
    commands: str = ""
    username: str = ""
    password: str = ""
    doors: tuple[Door, ...] = ()


class Step(Struct, frozen=True, kw_only=True):
    """One line of the scenario; ``told`` is the line in few words."""

    place: Place
    told: str


class Dial(Step, frozen=True, kw_only=True):
    """A phone calls a number; this is the current call from here on."""

    caller: str
    dialled: str
    pbx: str = ""


class PressKeys(Step, frozen=True, kw_only=True):
    """A party of the current call presses keys."""

    keys: str
    party: str = "caller"


class HangUp(Step, frozen=True, kw_only=True):
    """A party of the current call hangs up."""

    party: str


class Hear(Step, frozen=True, kw_only=True):
    """Somebody hears something that has this text in it, after what was heard before."""

    text: str


class Rings(Step, frozen=True, kw_only=True):
    """A number rings, after what rang before."""

    number: str


class Ran(Step, frozen=True, kw_only=True):
    """The PBX carries out, or tries to carry out, a verb of that name, after what it ran before."""

    verb: str


class Reaches(Step, frozen=True, kw_only=True):
    """The current call, or the one that goes on from it, reaches a state."""

    state: str


class Wait(Step, frozen=True, kw_only=True):
    """So much of the PBX's time passes."""

    seconds: float


class Send(Step, frozen=True, kw_only=True):
    """An app sends a command; ``code`` is the answer's, where it matters."""

    app: str
    command: str
    parameters: Pairs = ()
    method: str = "GET"
    code: int | None = None
    username: str | None = None
    password: str | None = None


class Sms(Step, frozen=True, kw_only=True):
    """A text message comes in from outside."""

    sender: str
    recipient: str
    text: str
    pbx: str = ""


class Break(Step, frozen=True, kw_only=True):
    """Somebody begins to fail. ``fault`` of ``None``: connections are refused."""

    who: str
    fault: Fault | None = None
    times: int | None = None
    message: str = ""


class Recover(Step, frozen=True, kw_only=True):
    """Somebody is well again."""

    who: str


class SetPhone(Step, frozen=True, kw_only=True):
    """A phone behaves like this from here on."""

    phone: Phone
    pbx: str = ""


class Saw(Step, frozen=True, kw_only=True):
    """Somebody has seen, or sees in time, a message with these parameters; ``never`` turns it round."""

    who: str
    message: str
    parameters: Pairs = ()
    times: int | None = None
    never: bool = False


class Scenario(Struct, frozen=True, kw_only=True):
    """A whole file."""

    name: str
    note: str = ""
    pbxs: tuple[PbxForm, ...] = ()
    apps: tuple[AppForm, ...] = ()
    steps: tuple[Step, ...] = ()
    patience_seconds: float = 10.0
