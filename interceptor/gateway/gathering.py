"""One question to several PBXs at once, and their answers as one.

A leg is the question to one PBX. It goes to another endpoint of the same PBX where the first fails; the PBXs do not
wait for each other, the asker waits for all of them, at most for the deadline of the command.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from interceptor.exchanges import Fault, Forward
from interceptor.gateway.clusters import REFUSES_US, Endpoint, Place
from interceptor.gateway.http1 import Reply
from interceptor.values import SetParameter
from interceptor.wire.answers import read_answer
from interceptor.wire.codes import Code
from interceptor.wire.listings import ROWS_MOST, Listing, Page, merged, read_listing

HEALTH_REASONS: Final = {
    Fault.UNREACHABLE: "connect",
    Fault.TIMEOUT: "timeout",
    Fault.BROKEN: "reset",
    Fault.UNREADABLE: "unreadable",
}
_PAYLOAD: Final = re.compile(rb"<(?:[\w.-]+:)?(?:ActiveCalls|Calls|Extensions)[\s/>]", re.IGNORECASE)
_DIGITS: Final = re.compile(r"[0-9]{1,9}")


class Leg:
    """The question to one PBX. ``send`` carries it to an endpoint, and is told why if it is not the first.

    ``done`` is told once that it has ended.
    """

    __slots__ = ("_done", "_endpoint", "_send", "_tried", "fault", "place", "plan", "reply")

    def __init__(
        self, place: Place, plan: Forward, send: Callable[["Leg", Endpoint, str], bool], done: Callable[["Leg"], None]
    ) -> None:
        self.place = place
        self.plan = plan
        self.reply: Reply | None = None
        self.fault = Fault.UNREACHABLE
        self._send = send
        self._done = done
        self._endpoint: Endpoint
        self._tried: tuple[Endpoint, ...] = ()

    def ask(self) -> None:
        """Ask the first endpoint that is well and was not tried; where there is none, that was it."""
        endpoint = self.place.choose(self._tried)
        if endpoint is None:
            self._done(self)
            return
        self._endpoint = endpoint
        if not self._send(self, endpoint, "next_endpoint" if self._tried else ""):
            self._done(self)

    # upstream.Errand

    def replied(self, reply: Reply) -> None:
        """It has answered."""
        code = read_answer(reply.body).code
        self.reply = reply
        endpoint = self._endpoint
        if code in REFUSES_US and self.place.route.credentials:
            if code != Code.FORBIDDEN_USER:
                endpoint.failed("code", f"refuses us with code {code}")
            self._next()
            return
        if reply.status >= 500:
            endpoint.failed("status", f"answers with HTTP status {reply.status}")
        else:
            endpoint.succeeded()
        self._done(self)

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """It has not; to ask again changes nothing."""
        del sent
        self.fault = fault
        if stale and not self._tried:
            self._tried = (self._endpoint,)  # counted as tried, so that this happens once
            if self._send(self, self._endpoint, "stale_connection"):
                return
        if fault is not Fault.OVERLOADED:
            self._endpoint.failed(HEALTH_REASONS[fault], fault.value)
        self._next()

    def _next(self) -> None:
        self._tried = (*self._tried, self._endpoint)
        self.ask()


class Gathered:
    """What all legs came to: the answer to give, if any, and who is missing in it."""

    def __init__(self, legs: Sequence[Leg], page: Page | None) -> None:
        listings: list[Listing] = []
        self.missing: list[str] = []
        self.fault = legs[0].fault
        self._page = page
        self._ground: Reply | None = None
        refused: Reply | None = None
        for leg in legs:
            reply = leg.reply
            listing = None if reply is None else read_listing(reply.body)
            code = read_answer(reply.body).code if reply is not None and 200 <= reply.status < 300 else None
            if reply is None or code != Code.OK or (listing is None and _PAYLOAD.search(reply.body)):
                self.missing.append(leg.place.name)
                refused = refused or reply
                continue
            if listing is not None:
                listings.append(listing)
                if not any(each.items for each in listings[:-1]) and (len(listings) == 1 or listing.items):
                    self._ground = reply  # the one that `merged` builds on: its headers fit
            elif self._ground is None:
                self._ground = reply
        self._listings = listings
        self.whole = not self.missing
        self.any = self._ground is not None
        self._refused = refused

    def reply(self, outcome: tuple[int, str] | None) -> Reply | None:
        """The answers as one, with this code and message if any; a refusal where that is all there is; else none."""
        ground = self._ground
        if ground is None:
            return self._refused
        if not self._listings:
            return ground
        return replace(ground, body=merged(self._listings, self._page, outcome))


def page_of(values: dict[str, str]) -> Page | None:
    """The page that is asked for, where that can be told and is not too far back."""
    number, rows = values.get("pagenumber") or "0", values.get("rowsperpage", "")
    if not _DIGITS.fullmatch(number) or not _DIGITS.fullmatch(rows) or not int(rows):
        return None
    page = Page(int(number), int(rows))
    return page if (page.number + 1) * page.rows <= ROWS_MOST else None


def pages_up_to(page: Page | None) -> tuple[SetParameter, ...]:
    """What has to be asked of each PBX, so that the page can be cut out of the whole."""
    if page is None or not page.number:
        return ()
    rows = (page.number + 1) * page.rows
    return (SetParameter("PageNumber", "0"), SetParameter("RowsPerPage", str(rows)))
