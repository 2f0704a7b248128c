"""What the running proxy needs to know, checked and typed. ``config.py`` makes it from ``config.yaml``.

Durations are seconds, sizes are bytes.
"""

from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from msgspec import Struct, field

from interceptor.values import Kind, Verb, Verdict
from interceptor.values import Mode as RuleMode


class Secret:
    """A text that is used but never shown: not by ``repr``, ``str``, a log or an error."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one place that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))


class Address(Struct, frozen=True):
    """A host and a TCP port; port 0 asks the system for a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Mode(Enum):
    """How a listener takes its connections."""

    GATEWAY = "gateway"
    TLS = "tls"
    TRANSPARENT = "transparent"


class Listener(Struct, frozen=True):
    """One port we accept messages on. ``certificate`` is a PEM file with key and chain, for mode ``tls``."""

    name: str
    kind: Kind
    address: Address
    mode: Mode = Mode.GATEWAY
    certificate: Path | None = None


class Url(Struct, frozen=True):
    """An ``http`` address taken apart: where to connect, and what to ask for there."""

    host: str
    port: int
    path: str  # with its query, never empty, begins with "/"

    def __str__(self) -> str:
        return f"http://{Address(self.host, self.port)}{self.path}"


class Credentials(Struct, frozen=True):
    """The user name and password that the PBX wants of us."""

    username: str
    password: Secret


class Each(Enum):
    """What each endpoint of a cluster is."""

    WAY = "way"  # a way to the same PBX, or its standby: any of them serves any command
    PBX = "pbx"  # a PBX of its own, with calls that the others do not have


class Partial(Enum):
    """How an app is told that a list lacks what one of several PBXs would have said."""

    CODE = "code"  # by a code of our own in the place of 200, and by a header
    HEADER = "header"  # by the header alone


class Cluster(Struct, frozen=True):
    """PBX endpoints that can serve the same commands.

    An endpoint is taken out after ``failures_to_open`` failures in a row, and asked again after ``retry_after`` with
    ``probe``, a command that changes nothing. With ``check_every`` it is asked so also while it is well. ``beside``
    names the cluster whose calls may be here as well, because rules send a part of them.
    """

    name: str
    endpoints: tuple[Url, ...]
    credentials: Credentials | None = None
    probe: str = "ListExtensions"
    failures_to_open: int = 3
    retry_after: float = 5.0
    check_every: float | None = None
    each: Each = Each.WAY
    beside: str | None = None
    partial: Partial = Partial.CODE


class PasswordCheck(Struct, frozen=True):
    """How an app's password is checked: against a ``secret`` text or against a ``scrypt`` hash.

    Exactly one is given.
    """

    secret: Secret | None = None
    scrypt: str | None = None


class Retry(Struct, frozen=True):
    """How an app is asked, in the words of Twilio and jambonz; durations in seconds, ``None`` is what `timeouts` says.

    ``ct`` is the longest wait for a connection, ``rt`` for the first byte of the answer, ``tt`` for all attempts
    together. ``rc`` more attempts follow on what ``rp`` names: ``ct`` (no connection, nothing was sent), ``rt`` (no
    answer), ``4xx``, ``5xx``, ``all``.
    """

    ct: float | None = None
    rt: float | None = None
    tt: float | None = None
    rc: int = 1
    rp: tuple[str, ...] = ("ct",)


class App(Struct, frozen=True):
    """A business application, how we know it, and where it wants its notifications.

    With ``sources`` and ``username`` both given, both must hold. ``urls`` maps notification names to addresses of their
    own; ``url`` takes the rest. ``fallback`` is what a caller hears when the app does not answer, ``fallbacks`` the
    same for some notifications, by name; their texts may have the placeholders of rules. ``callbacks`` are the hosts
    and networks where it may send the PBX; ``None`` means those of its own addresses. Answers of a ``legacy`` app that
    cannot be read as OzML pass on as they are. ``extensions`` are those that it sees where calls have owners: ids,
    ``x`` for one digit; ``None`` means all. ``backup`` is asked where ``url`` or one of ``urls`` fails and it is safe.
    An address that has failed ``failures_to_open`` times in a row is left alone for ``retry_after`` seconds; 0: never.
    The same command to the same number again within ``repeats_within`` seconds gets the first answer; ``None``: it is
    a command like any other.
    """

    name: str
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    username: str | None = None
    password: PasswordCheck | None = None
    url: Url | None = None
    urls: dict[str, Url] = field(default_factory=dict)
    cluster: str | None = None
    fallback: tuple[Verb, ...] = ()
    fallbacks: dict[str, tuple[Verb, ...]] = field(default_factory=dict)
    callbacks: tuple[str, ...] | None = None
    legacy: bool = False
    extensions: tuple[str, ...] | None = None
    backup: Url | None = None
    retry: Retry | None = None
    failures_to_open: int = 5
    retry_after: float = 5.0
    repeats_within: float | None = None


class Subscription(Struct, frozen=True):
    """Which app a notification goes to when no rule names another: the first whose ``path`` and ``name`` both fit.

    ``None`` fits everything.
    """

    app: str
    path: str | None = None
    name: str | None = None


class Deadlines(Struct, frozen=True):
    """How long an answer may take: to its first byte, and as a whole, counted from our sending."""

    first_byte: float
    total: float


class Timeouts(Struct, frozen=True):
    """Every wait has an end."""

    connect: float = 2.0
    command: Deadlines = Deadlines(10.0, 30.0)
    call: Deadlines = Deadlines(90.0, 120.0)  # Call: the PBX may answer only when somebody picks up
    routing: Deadlines = Deadlines(2.0, 3.0)  # RoutingInterception: the caller waits for a ring
    interactive: Deadlines = Deadlines(4.0, 5.0)  # CallConnected, IncomingCall, DtmfEntered, GoTo: silence until then
    report: Deadlines = Deadlines(5.0, 10.0)  # CallChanged, RecordCompleted, SMSDeliveryReport, Error
    request: float = 15.0  # a slow sender has this long for one whole request
    idle: float = 75.0  # a client's connection without a request
    upstream_idle: float = 30.0  # a pooled connection without use
    shutdown: float = 10.0  # what is in flight at SIGTERM


class Limits(Struct, frozen=True):
    """Every store has a bound. ``connections`` and ``queued`` are per worker."""

    body: int = 1 << 20
    reply_body: int = 4 << 20
    head: int = 16 << 10
    connections: int = 4096
    queued: int = 1024  # requests waiting for an upstream connection, per endpoint
    upstream_connections: int = 128  # per endpoint
    xml_depth: int = 64
    outbox: int = 10_000  # kept notifications per app, or per address that a rule names
    outbox_addresses: int = 64  # such addresses, each worker
    hops: int = 100  # questions of one call in a row, without a key pressed
    verbs: int = 500  # elements of one answer
    verb_depth: int = 16  # of elements inside one another
    messages: int = 20  # calls, messages and alarms that one answer may set off


class ForwardHeaders(Struct, frozen=True):
    """Which headers of our own we add."""

    via: bool = True
    forwarded_for: bool = True
    exchange: bool = True


class Durability(Enum):
    """When a record is safe: before the command leaves, or soon."""

    STRICT = "strict"
    RELAXED = "relaxed"


class Masking(Struct, frozen=True):
    """What the journal shows of what it must not keep whole. ``numbers`` keeps that many digits visible at the end.

    Passwords are never kept, whatever stands here.
    """

    numbers: int | None = None  # None: numbers are kept whole
    dtmf: bool = True  # True: DTMF digits are masked


class JournalSettings(Struct, frozen=True):
    """Where the audit records go and how sure we are of them."""

    directory: Path
    durability: Durability = Durability.STRICT
    flush_seconds: float = 0.2  # relaxed: records are written at least this often
    file_bytes: int = 256 << 20  # a new file after this many
    files: int = 0  # 0: none is ever deleted
    pending: int = 20_000  # records waiting to be written; more count as "cannot write"
    masking: Masking = Masking()


class CasesRule(Enum):
    """What the cases that ship beside the rules have to say about a new policy."""

    REQUIRE = "require"  # one that fails keeps it out of force
    WARN = "warn"  # one that fails is told
    OFF = "off"  # they are not run


class ColdStart(Enum):
    """What happens at a start when the rules cannot be used."""

    LAST_GOOD = "last_good"  # the last policy that was in force is taken, and that is told loudly
    REFUSE = "refuse"


class CallsRule(Enum):
    """By which rules the messages of a call are decided that began before a new policy came into force."""

    KEEP = "keep"  # by those that the call began with
    CHANGE = "change"  # by the new ones, like all others


class EmergencyRule(Enum):
    """Whether rules that could keep a call from an emergency number may come into force."""

    GUARDED = "guarded"  # never
    UNCHECKED = "unchecked"  # nobody looks: for test set-ups


class PolicySettings(Struct, frozen=True):
    """How a new policy comes into force, and how far. ``watch`` says whether the files are looked at for changes.

    ``canary`` is where the policy stands that may decide a share of the calls.
    """

    canary: Path | None = None
    calls: CallsRule = CallsRule.KEEP
    cases: CasesRule = CasesRule.REQUIRE
    cold_start: ColdStart = ColdStart.LAST_GOOD
    emergency: EmergencyRule = EmergencyRule.GUARDED
    mode: RuleMode = RuleMode.ENFORCE
    watch: bool = True


class ExplainSettings(Struct, frozen=True):
    """Which exchanges each worker keeps, so that they can be explained: at most ``keep``, the newest.

    ``sample`` is the share of all exchanges, from 0 to 1; ``denied`` says that every denied one is kept beside them.
    """

    denied: bool = True
    sample: float = 0.01
    keep: int = 1000


class Ownership(Enum):
    """Whether apps act on their own calls only, and see no others."""

    OFF = "off"
    SHADOW = "shadow"  # the record tells what would have been refused
    ENFORCE = "enforce"


class CallbackSettings(Struct, frozen=True):
    """Whether the callbacks of apps come back through us, and how.

    ``public_url`` is where the PBX reaches our notification listener; without it, callbacks pass as they are. The first
    of ``keys`` seals, all of them open; without any, one is made and kept below ``state``. A callback is good for
    ``lifetime`` seconds.
    """

    public_url: Url | None = None
    keys: tuple[Secret, ...] = ()
    lifetime: float = 86_400.0


class CallSettings(Struct, frozen=True):
    """How calls are followed, each worker its own. Times are seconds; ``open`` of 0 follows none.

    A call is closed when nothing was heard of it for ``idle``, or for ``setup`` while it was never connected.
    ``window`` is how far apart messages may be to be joined by their numbers. ``replay`` of the journal is read at a
    start. ``poll`` is how often PBXs are asked for their calls, ``None`` never.
    """

    open: int = 5_000
    recent: int = 1_000
    messages: int = 200  # of one call
    idle: float = 7200.0
    setup: float = 300.0
    window: float = 3.0
    replay: float = 900.0
    poll: float | None = None


class Ground(Struct, frozen=True):
    """What rules stand on: the names they may use, the number plan, the clock. Settings have all of it, and more."""

    country: str
    extensions: tuple[str, ...]
    time_zone: str
    apps: frozenset[str]
    clusters: frozenset[str]
    defaults: dict[Kind, Verdict]
    rules: Path
    mode: RuleMode
    emergency: EmergencyRule = EmergencyRule.GUARDED


class Settings(Struct, frozen=True):
    """The whole configuration."""

    country: str
    extensions: tuple[str, ...]  # patterns of digits and "x", which stands for one digit
    time_zone: str
    workers: int
    listeners: tuple[Listener, ...]
    admin: Address
    clusters: dict[str, Cluster]
    default_cluster: str
    apps: dict[str, App]
    subscriptions: tuple[Subscription, ...]
    defaults: dict[Kind, Verdict]
    rules: Path
    state: Path
    journal: JournalSettings
    timeouts: Timeouts = Timeouts()
    limits: Limits = Limits()
    headers: ForwardHeaders = ForwardHeaders()
    pass_ambiguous: bool = False
    policy: PolicySettings = PolicySettings()
    explain: ExplainSettings = ExplainSettings()
    callbacks: CallbackSettings = CallbackSettings()
    calls: CallSettings = CallSettings()
    ownership: Ownership = Ownership.OFF

    @property
    def mode(self) -> RuleMode:
        """How far rules go, all together."""
        return self.policy.mode

    @property
    def emergency(self) -> EmergencyRule:
        """Whether emergency numbers are guarded."""
        return self.policy.emergency
