"""What must hold between the parts of the configuration. Each problem stands where it would be mended."""

from pathlib import Path
from typing import Any, Final

from interceptor.document import Fields, Node, Problems, expected
from interceptor.settings import Address, App, Cluster, Listener, Subscription

DEFAULT_ADMIN: Final = Address("127.0.0.1", 7790)
_EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


def check(root: Fields, values: dict[str, Any], problems: Problems, base: Path) -> None:
    """Check ``values``, read from ``root``; parts that could not be read are not there and are passed over."""
    _addresses(root, values, problems)
    _clusters(root, values, problems)
    _users(root, values, problems)
    _networks(root, values, problems)
    _subscriptions(root, values, problems)
    _folders(root, values, problems, base)
    _callbacks(root, values, problems)


def _callbacks(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    callbacks = values.get("callbacks")
    if callbacks is None or callbacks.public_url is None:
        return
    if callbacks.public_url.path != "/":
        place = _at(root, "callbacks", "public_url").place
        problems.add(place, "`callbacks.public_url` should be a host and port without a path", "bad_path")


def _addresses(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    taken: list[tuple[str, Address]] = []
    admin = root.get("admin")
    wanted = [("admin", values.get("admin", None if admin else DEFAULT_ADMIN), admin or root)]
    listeners: dict[str, Listener] = values.get("listeners", {})
    wanted += [
        (f"listeners.{name}", one.address, _at(root, "listeners", name, "address")) for name, one in listeners.items()
    ]
    for name, address, node in reversed(wanted) if admin else wanted:
        if address is None:
            continue
        for other, used in taken:
            if address.port and address.port == used.port and _overlap(address.host, used.host):
                problems.add(node.place, f"`{address}` of `{name}` is taken by `{other}`", "address_taken")
                break
        taken.append((name, address))


def _overlap(one: str, other: str) -> bool:
    return one == other or one in _EVERYWHERE or other in _EVERYWHERE


def _clusters(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    written = root.get("clusters")
    if not isinstance(written, Fields):
        return
    # Names as written: a cluster with a fault of its own is still there to be named.
    known = [key.value for key, _ in written.entries]
    chosen = values.get("default_cluster")
    if chosen is not None and chosen not in known:
        place = _at(root, "default_cluster").place
        problems.add(place, f"unknown cluster `{chosen}`{expected(chosen, known)}", "unknown_cluster")
    elif root.get("default_cluster") is None and len(known) > 1:
        problems.add(written.place, "with several clusters, `default_cluster` says which is meant", "missing_key")
    clusters: dict[str, Cluster] = values.get("clusters", {})
    for name, cluster in clusters.items():
        if cluster.beside is None:
            continue
        place = _at(root, "clusters", name, "beside").place
        if cluster.beside not in known:
            message = f"unknown cluster `{cluster.beside}`{expected(cluster.beside, known)}"
            problems.add(place, message, "unknown_cluster")
        elif cluster.beside == name or (cluster.beside in clusters and clusters[cluster.beside].beside is not None):
            message = f"`{name}` should be beside a cluster that is itself beside none, not `{cluster.beside}`"
            problems.add(place, message, "beside")
    apps: dict[str, App] = values.get("apps", {})
    for name, app in apps.items():
        if app.cluster is not None and app.cluster not in known:
            place = _at(root, "apps", name, "cluster").place
            problems.add(place, f"unknown cluster `{app.cluster}`{expected(app.cluster, known)}", "unknown_cluster")
        if name in known:
            place = _key(root, "apps", name).place
            message = f"`{name}` names a cluster and an app; a rule that reroutes to it could mean either"
            problems.add(place, message, "ambiguous_name")


def _users(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    seen: dict[str, str] = {}
    apps: dict[str, App] = values.get("apps", {})
    for name, app in apps.items():
        if app.username is None:
            continue
        if app.username in seen:
            place = _at(root, "apps", name, "username").place
            message = f"the user name `{app.username}` belongs to `{seen[app.username]}` already"
            problems.add(place, message, "duplicate_username")
        seen.setdefault(app.username, name)


def _networks(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    seen: dict[Any, str] = {}
    apps: dict[str, App] = values.get("apps", {})
    for name, app in apps.items():
        written = _at(root, "apps", name)
        if isinstance(written, Fields) and written.get("username") is not None:
            continue  # told apart by its user name, also by one with a fault
        for network in app.sources:
            if network in seen:
                place = _at(root, "apps", name, "sources").place
                message = f"`{name}` and `{seen[network]}` cannot be told apart: both are known by `{network}` alone"
                problems.add(place, message, "indistinguishable")
            seen.setdefault(network, name)


def _subscriptions(root: Fields, values: dict[str, Any], problems: Problems) -> None:
    subscriptions: tuple[tuple[Subscription, Node], ...] = values.get("notifications", ())
    apps: dict[str, App] = values.get("apps", {})
    written = root.get("apps")
    known = [key.value for key, _ in written.entries] if isinstance(written, Fields) else []
    earlier: list[Subscription] = []
    for subscription, node in subscriptions:
        place = _at(node, "app").place
        app = apps.get(subscription.app)
        if subscription.app not in known:
            message = f"unknown app `{subscription.app}`{expected(subscription.app, known)}"
            problems.add(place, message, "unknown_app")
        elif app is not None and app.url is None and (subscription.name is None or subscription.name not in app.urls):
            problems.add(place, f"the app `{app.name}` has no `url` for these notifications", "no_url")
        for other in earlier:
            if other.path in (None, subscription.path) and other.name in (None, subscription.name):
                message = f"never reached: what fits here goes to `{other.app}` by an earlier entry"
                problems.add(node.place, message, "never_reached")
                break
        earlier.append(subscription)


def _folders(root: Fields, values: dict[str, Any], problems: Problems, base: Path) -> None:
    rules, policy = values.get("rules", base / "rules"), values.get("policy")
    if rules == values.get("state", base / "state"):
        problems.add(_at(root, "rules").place, "`rules` and `state` should be two folders", "same_folder")
    if policy is not None and policy.canary is not None and rules.name == policy.canary.name:
        place = _at(root, "policy", "canary").place
        problems.add(place, "`rules` and `policy.canary` should be two folders with names of their own", "same_folder")


def _at(root: Node, *path: str) -> Node:
    """What stands at ``path``, or the nearest thing around it that is there."""
    node = root
    for key in path:
        inner = node.get(key) if isinstance(node, Fields) else None
        if inner is None:
            return node
        node = inner
    return node


def _key(root: Node, *path: str) -> Node:
    """The key at the end of ``path`` itself, not what it holds."""
    around = _at(root, *path[:-1])
    if isinstance(around, Fields):
        for key, _ in around.entries:
            if key.value == path[-1]:
                return key
    return around
