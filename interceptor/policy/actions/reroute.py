"""### `reroute`

Sends the message somewhere else, and goes on reading. The first reroute that acts stands. A command goes to another
cluster of PBX endpoints; a notification goes to another app, or to a URL. A verb goes nowhere, so there it does
nothing.

| written | goes to |
| --- | --- |
| `pbx-marketing` or `{cluster: pbx-marketing}` | this cluster of `config.yaml` |
| `{app: crm}` | this app of `config.yaml`, at the URL it has there |
| `{url: "http://10.0.0.9:8001/pbx"}` | this address |

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
from interceptor.policy.grammar import Reading
from interceptor.values import Kind, Target, ToApp, ToCluster, ToUrl

KEY: Final = "reroute"
_COMMANDS: Final = frozenset((Kind.COMMAND,))
_NOTIFICATIONS: Final = frozenset((Kind.NOTIFICATION,))


class Reroute(Struct, frozen=True):
    """Send the message to this target."""

    target: Target

    @property
    def kinds(self) -> frozenset[Kind]:
        return _COMMANDS if isinstance(self.target, ToCluster) else _NOTIFICATIONS

    @property
    def ends(self) -> bool:
        return False

    @property
    def varies(self) -> bool:
        return False

    def act(self, outcome: Outcome) -> None:
        if outcome.target is None:
            outcome.target = self.target


def read(node: Node, reading: Reading) -> Reroute | None:
    """The action under ``reroute``."""
    problems, context = reading.problems, reading.context
    if isinstance(node, Text):
        return _to_cluster(node, reading)
    entries = document.fields(node, ("cluster", "app", "url"), problems, "`reroute`").entries
    if not isinstance(node, Fields):
        return None
    if len(entries) != 1:
        problems.add(node.place, "`reroute` should have one of `cluster`, `app`, `url`", "bad_reroute")
        return None
    key, value = entries[0]
    if key.value == "cluster":
        return _to_cluster(value, reading)
    if key.value == "app":
        app = _known(value, context.apps, reading, "app")
        return None if app is None else Reroute(ToApp(app))
    if key.value == "url":
        return _to_url(value, reading)
    return None


def _to_cluster(node: Node, reading: Reading) -> Reroute | None:
    cluster = _known(node, reading.context.clusters, reading, "cluster")
    return None if cluster is None else Reroute(ToCluster(cluster))


def _known(node: Node, names: Iterable[str], reading: Reading, what: str) -> str | None:
    name = document.text(node, reading.problems, f"`{what}` of `reroute`")
    if name is None or name in names:
        return name
    reading.problems.add(node.place, f"unknown {what} `{name}`{document.nearest(name, names)}", f"unknown_{what}")
    return None


def _to_url(node: Node, reading: Reading) -> Reroute | None:
    url = document.text(node, reading.problems, "`url` of `reroute`")
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or parts.fragment or not url.isascii() or any(character <= " " for character in url):
        message = f"`url` should be an address such as `http://10.0.0.9:8001/pbx`, here is `{url}`"
        reading.problems.add(node.place, message, "bad_url")
        return None
    return Reroute(ToUrl(url))
