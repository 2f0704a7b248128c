"""A pipeline of its own for each test, and requests for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interceptor.audit.record import Recorder
from interceptor.exchanges import Arrival
from interceptor.identity import Identifier
from interceptor.loading import policy_context
from interceptor.pipeline import Pipeline
from interceptor.policy import Source, compile_policy
from interceptor.settings import App, Settings, Subscription, Url
from interceptor.values import Kind
from tests.gateway.harness import ALLOW_ALL, settings_for

FORM = {"content-type": "application/x-www-form-urlencoded"}


def command(target: bytes = b"/?command=ListActiveCalls", body: bytes = b"", **changes: Any) -> Arrival:
    """A command as an edge reads it."""
    method = "POST" if body else "GET"
    arrival = Arrival("x-1", "commands", Kind.COMMAND, "127.0.0.1", method, target, FORM, body, 1_800_000_000.0)
    return replace(arrival, **changes)


def notification(body: bytes, target: bytes = b"/", **changes: Any) -> Arrival:
    """A notification as an edge reads it."""
    arrival = Arrival(
        "x-1", "notifications", Kind.NOTIFICATION, "192.0.2.7", "POST", target, FORM, body, 1_800_000_000.0
    )
    return replace(arrival, **changes)


def make(settings: Settings, rules: str = ALLOW_ALL) -> Pipeline:
    """A pipeline of these settings and rules."""
    compiled = compile_policy([Source("test.yaml", rules.encode())], policy_context(settings))
    identifier = Identifier(settings.apps.values(), b"key")
    return Pipeline(settings, compiled, Recorder("w0", settings.journal.masking), identifier)


def site(**changes: Any) -> Settings:
    """Two apps, one of them with addresses of its own for some notifications, and two clusters."""
    settings = settings_for(Path("/nowhere"), [9780], app=8001)
    crm = replace(
        settings.apps["crm"],
        url=Url("crm.test", 8001, "/pbx?key=1"),
        urls={"IncomingCall": Url("crm.test", 8002, "/in")},
    )
    board = App("board", url=Url("board.test", 80, "/"))
    mute = App("mute")
    elsewhere = replace(settings.clusters["pbx"], name="elsewhere")
    settings = replace(
        settings,
        apps={"crm": crm, "board": board, "mute": mute},
        clusters={**settings.clusters, "elsewhere": elsewhere},
        subscriptions=(
            Subscription("board", path="/route"),
            Subscription("mute", name="Error"),
            Subscription("board", name="CallChanged", path="/events"),
            Subscription("crm"),
        ),
    )
    return replace(settings, **changes)


@pytest.fixture
def pipeline() -> Callable[..., Pipeline]:
    def build(rules: str = ALLOW_ALL, **changes: Any) -> Pipeline:
        return make(site(**changes), rules)

    return build
