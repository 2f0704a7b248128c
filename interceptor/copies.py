"""The copies that rules want of messages: without what is for nobody else."""

from collections.abc import Mapping

from interceptor.app_addresses import AppAddresses, path_with_query
from interceptor.audit.masking import is_secret_name, mask_text, may_tell
from interceptor.exchanges import Copy, Opened
from interceptor.particulars import names_of
from interceptor.values import Change, Kind, RemoveParameter, SetParameter, Target, ToApp, ToCluster, ToUrl
from interceptor.wire import knowledge
from interceptor.wire.parameters import decode, join_target, split_target


class Copies:
    """Makes them. ``credentials`` are what each cluster gets in place of the app's own."""

    def __init__(self, addresses: AppAddresses, credentials: Mapping[str, tuple[Change, ...]]) -> None:
        self._addresses = addresses
        self._credentials = credentials

    def of(self, opened: Opened) -> tuple[Copy, ...]:
        """The copies that the decision wants, of the message as it leaves."""
        return tuple(copy for mirror in opened.decision.mirrors for copy in self._copy(opened, mirror))

    def _copy(self, opened: Opened, mirror: Target) -> tuple[Copy, ...]:
        arrival, command = opened.arrival, opened.arrival.kind is Kind.COMMAND
        if isinstance(mirror, ToApp):
            url = self._addresses.find(mirror.app, opened.name)
            if url is None:
                return ()
            mirror = ToUrl(url)
        path, query, question_mark = split_target(arrival.target)
        # The query of a notification is the app's own: what may stand there is for nobody else.
        read = decode(b"" if arrival.body and not command else query, arrival.body or None, path)
        kind_of = knowledge.command(opened.name) if command else knowledge.notification(opened.name)
        secrets = names_of(kind_of).secrets
        left = read.changed(opened.decision.changes)
        hidden = [name for name in left.values if name == "username" or name in secrets or is_secret_name(name)]
        left = left.changed(tuple(RemoveParameter(name) for name in hidden))
        telling = [(name, mask_text(value)) for name, value in left.values.items() if may_tell(value)]
        left = left.changed(tuple(SetParameter(name, shown) for name, shown in telling))
        if isinstance(mirror, ToCluster):
            left = left.changed(self._credentials[mirror.cluster])
            target = join_target(path, left.query, question_mark)
        else:
            target = path_with_query(mirror.url, left.query)
        content_type = arrival.headers.get("content-type", "application/x-www-form-urlencoded")
        return (Copy(mirror, "POST" if left.body is not None else "GET", target, left.body or b"", content_type),)
