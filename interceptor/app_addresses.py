"""Where an app is told of notifications: at the addresses that config or a rule names, with the query that came."""

from collections.abc import Mapping

from interceptor.exchanges import Forward, Opened
from interceptor.settings import App
from interceptor.values import ToUrl
from interceptor.wire.parameters import split_target
from interceptor.wire.url import take_apart


class AppAddresses:
    """The addresses of all apps."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._apps = apps

    def find(self, app: str, name: str) -> str | None:
        """Where this app has notifications of this name; ``None`` where it has no address for them."""
        known = self._apps.get(app)
        if known is None:
            return None
        url = known.urls.get(name) or known.url
        return None if url is None else str(url)

    def backup_plan(self, opened: Opened) -> Forward | None:
        """The plan of a notification for its app's second address; ``None`` where it has none or was not asked itself.

        What goes to a callback, or where a rule sends it, has no second address.
        """
        plan, app = opened.plan, self._apps.get(opened.app)
        if app is None or app.backup is None or not isinstance(plan, Forward) or not isinstance(plan.target, ToUrl):
            return None
        url, backup = plan.target.url, str(app.backup)
        if plan.guarded or url != self.find(opened.app, opened.name):
            return None
        query = plan.path[len(path_with_query(url, b"")) :].lstrip(b"?&")
        return Forward(ToUrl(backup), path_with_query(backup, query), plan.body)

    def kept(self, opened: Opened) -> str:
        """Where a notification is delivered later: where its plan says, or where config says for its app."""
        plan = opened.plan
        if isinstance(plan, Forward):
            if not isinstance(plan.target, ToUrl):
                return ""
            url, path = plan.target.url, plan.path
        else:
            known = self.find(opened.app, opened.name)
            if known is None:
                return ""
            url, path = known, path_with_query(known, split_target(opened.arrival.target)[1])
        place = take_apart(url)
        if place is None:
            return ""
        return f"{'https' if place.tls else 'http'}://{place.authority}{path.decode('latin-1')}"


def queue_of(opened: Opened) -> str:
    """Whose queue a notification waits in: its app's, or that of the address which a rule named."""
    target = opened.decision.target
    return target.url.partition("?")[0] if isinstance(target, ToUrl) else opened.app


def path_with_query(url: str, query: bytes) -> bytes:
    """The path that the app gave, with its own query first and the query that came after it."""
    place = take_apart(url)
    path = place.path if place is not None else b"/"
    if not query:
        return path
    return path + (b"&" if b"?" in path else b"?") + query
