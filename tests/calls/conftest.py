"""Makes sightings in few words."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.calls import Bounds, Call, Calls, Closing, How, Said, Sighting
from interceptor.values import Kind, Verdict


@pytest.fixture(scope="session", autouse=True)
def authority(one_authority: None) -> None:
    """One for all sites."""


class Line:
    """A fold, and a clock that moves a tenth of a second with each message."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.calls = Calls(bounds)
        self.now = 1000.0
        self._ids = itertools.count(1)

    def command(self, name: str, *, app: str = "crm", code: int | None = 200, **fields: Any) -> str:
        """A command and its code; ``None`` leaves it without an answer."""
        exchange = self._see(Kind.COMMAND, name, app=app, **fields)
        if code is not None:
            self.close(exchange, code=code, endpoint="pbx:80")
        return exchange

    def told(self, name: str, *, outcome: str = "answered", answered: tuple[str, ...] = (), **fields: Any) -> str:
        """A notification and how its exchange ended; an empty outcome leaves it without an answer."""
        said = fields.pop("said", ())
        exchange = self._see(Kind.NOTIFICATION, name, **fields)
        for each in said:
            self.calls.say(exchange, each)
        if outcome:
            self.close(exchange, outcome=outcome, answered=answered)
        return exchange

    def state(self, call_id: str, state: str, **fields: Any) -> str:
        """CallChanged."""
        return self.told("CallChanged", call_id=call_id, state=state, **fields)

    def routed(self, caller: str, dialled: str, to: str = "", **fields: Any) -> str:
        """RoutingInterception, and perhaps a Route."""
        fields.setdefault("state", "Calling")
        if to:
            fields |= {"said": (Said("Route", Verdict.ALLOW, to),), "answered": ("Route",)}
        return self.told("RoutingInterception", caller=caller, dialled=dialled, **fields)

    def close(self, exchange: str, *, outcome: str = "answered", code: int | None = None, **fields: Any) -> None:
        """The end of an exchange."""
        self.now += 0.01
        self.calls.close(Closing(exchange, self.now, outcome, code, **fields))

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.calls.tick(self.now)

    def find(self, name: str) -> Call:
        """A call that must be there."""
        call = self.calls.find(name)
        assert call is not None, name
        return call

    def remarks(self, name: str) -> list[str]:
        """What is noted of a call."""
        return [remark.text for remark in self.find(name).remarks]

    def passages(self, name: str) -> list[tuple[str, How]]:
        """The messages of a call, and how they came there."""
        return [(passage.sighting.name, passage.how) for passage in self.find(name).passages]

    def _see(self, kind: Kind, name: str, **fields: Any) -> str:
        self.now += 0.1
        exchange: str = fields.pop("exchange", f"e{next(self._ids)}")
        self.calls.see(Sighting(exchange, fields.pop("at", self.now), kind, name, **fields))
        return exchange


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def line_with() -> Callable[..., Line]:
    return lambda **bounds: Line(Bounds(**bounds))
