"""### `reroute`

Sends the message somewhere else, and goes on reading. The first reroute that acts stands. A command goes to another
cluster of PBX endpoints; a notification goes to another app, or to a URL. A verb goes nowhere, so there it does
nothing.

| written | goes to |
| --- | --- |
| `pbx-marketing` or `{cluster: pbx-marketing}` | this cluster of `config.yaml` |
| `{table: lcr, column: cluster}` | the cluster that a [table](#values-out-of-tables) names for the number dialled |
| `{app: crm}` | this app of `config.yaml`, at the URL it has there |
| `{url: "http://10.0.0.9:8001/pbx"}` | this address |

`{cluster: {table: …, column: …, by: …}}` and `{app: {table: …, column: …, by: …}}` look clusters and apps up by
something else. Every name in such a column is checked when the rules are loaded; where the table has no row for a
message, the message is not rerouted by this rule. The query of a `url` may hold placeholders.

    - name: marketing-has-its-own-pbx
      on: command
      when: {app: marketing}
      reroute: pbx-marketing
"""  # noqa: D400, D415 - a page of the manual

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from interceptor import document
from interceptor.document import Fields, Node, Text
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.columns import KEYS, Column, check_column, column_shape, read_column
from interceptor.policy.grammar import Reading
from interceptor.policy.placeholders import Pattern, read_address
from interceptor.policy.shapes import TEXT, Shape, Shapes, any_of, closed
from interceptor.values import Facts, Kind, Target, ToApp, ToCluster, ToUrl

KEY: Final = "reroute"
_COMMANDS: Final = frozenset((Kind.COMMAND,))
_NOTIFICATIONS: Final = frozenset((Kind.NOTIFICATION,))


class ClusterColumn(Struct, frozen=True):
    """The cluster that a table names."""

    column: Column

    def target(self, facts: Facts) -> Target | None:
        """Where one message goes."""
        name = self.column.of(facts)
        return ToCluster(name) if name else None


class AppColumn(Struct, frozen=True):
    """The app that a table names."""

    column: Column

    def target(self, facts: Facts) -> Target | None:
        """Where one message goes."""
        name = self.column.of(facts)
        return ToApp(name) if name else None


class UrlPattern(Struct, frozen=True):
    """An address with values of the message in its query."""

    pattern: Pattern

    def target(self, facts: Facts) -> Target | None:
        """Where one message goes."""
        return ToUrl(self.pattern.fill(facts))


Written = Target | ClusterColumn | AppColumn | UrlPattern
"""Where a rule sends messages: always to the same target, or to one that depends on the message."""


def read_for(written: Written) -> tuple[Column, ...] | None:
    """What of a message has to be known for the target, as in :class:`Action`."""
    if isinstance(written, ClusterColumn | AppColumn):
        return (written.column,)
    return None if isinstance(written, UrlPattern) else ()


def target_of(written: Written, outcome: Outcome) -> Target | None:
    """The target for the message that is decided, if there is one."""
    return written if isinstance(written, ToCluster | ToApp | ToUrl) else written.target(outcome.facts)


class Reroute(Struct, frozen=True):
    """Send the message to this target."""

    target: Written

    @property
    def kinds(self) -> frozenset[Kind]:
        return _COMMANDS if isinstance(self.target, ToCluster | ClusterColumn) else _NOTIFICATIONS

    @property
    def ends(self) -> bool:
        return False

    @property
    def reads(self) -> tuple[Column, ...] | None:
        return read_for(self.target)

    def act(self, outcome: Outcome) -> None:
        if outcome.target is None:
            outcome.target = target_of(self.target, outcome)


def read(node: Node, reading: Reading) -> Reroute | None:
    """The action under ``reroute``."""
    target = read_target(node, reading, f"`{KEY}`")
    return None if target is None else Reroute(target)


def read_target(node: Node, reading: Reading, what: str) -> Written | None:
    """Where ``node`` sends messages, or ``None`` after a problem; a word alone is a cluster."""
    problems = reading.problems
    if isinstance(node, Text):
        return _to_cluster(node, reading, what)
    if isinstance(node, Fields) and any(key.value in KEYS for key, _ in node.entries):
        return _to_cluster(node, reading, what)
    entries = document.fields(node, ("cluster", "app", "url"), problems, what).entries
    if not isinstance(node, Fields):
        return None
    if len(entries) != 1:
        problems.add(node.place, f"{what} should have one of `cluster`, `app`, `url`, or a `table`", "bad_reroute")
        return None
    key, value = entries[0]
    if key.value == "cluster":
        return _to_cluster(value, reading, what)
    if key.value == "app":
        return _to_app(value, reading, what)
    return _to_url(value, reading, what) if key.value == "url" else None


def _to_cluster(node: Node, reading: Reading, what: str) -> ToCluster | ClusterColumn | None:
    clusters = reading.context.clusters
    if isinstance(node, Fields):
        column = _column(node, clusters, reading, what, "cluster")
        return None if column is None else ClusterColumn(column)
    cluster = _known(node, clusters, reading, what, "cluster")
    return None if cluster is None else ToCluster(cluster)


def _to_app(node: Node, reading: Reading, what: str) -> ToApp | AppColumn | None:
    apps = reading.context.apps
    if isinstance(node, Fields):
        column = _column(node, apps, reading, what, "app")
        return None if column is None else AppColumn(column)
    app = _known(node, apps, reading, what, "app")
    return None if app is None else ToApp(app)


def _column(node: Fields, names: frozenset[str], reading: Reading, what: str, named: str) -> Column | None:
    column = read_column(node, reading, what, "number")
    if column is not None:
        check_column(column, names, node.get("column") or node, reading, named)
    return column


def _known(node: Node, names: Iterable[str], reading: Reading, where: str, what: str) -> str | None:
    name = document.text(node, reading.problems, f"`{what}` of {where}")
    if name is None or name in names:
        return name
    reading.problems.add(node.place, f"unknown {what} `{name}`{document.expected(name, names)}", f"unknown_{what}")
    return None


def _to_url(node: Node, reading: Reading, what: str) -> ToUrl | UrlPattern | None:
    wording = read_address(node, reading, f"`url` of {what}")
    if wording is None:
        return None
    url = wording if isinstance(wording, str) else wording.whole("")
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.fragment or not url.isascii() or any(character <= " " for character in url):
        here = "" if "@" in url else f", here is `{url}`"  # what stands before the @ may be a password
        message = f"`url` should be an address such as `http://10.0.0.9:8001/pbx`{here}"
        reading.problems.add(node.place, message, "bad_url")
        return None
    return ToUrl(wording) if isinstance(wording, str) else UrlPattern(wording)


def shape(shapes: Shapes) -> Shape:
    """What can be written under ``reroute``."""
    return target_shape(shapes)


def target_shape(shapes: Shapes) -> Shape:
    """What :func:`read_target` takes."""
    column = column_shape(shapes)
    targets = {"cluster": any_of(shapes.cluster, column), "app": any_of(shapes.app, column), "url": TEXT}
    one = {**closed(targets, least=1), "maxProperties": 1}
    return any_of(shapes.cluster, column, one)
