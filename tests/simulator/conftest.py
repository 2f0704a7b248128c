"""A PBX and an app in virtual time, and a fault of the simulator itself fails the test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from interceptor.simulator import SimulatedApp, SimulatedPbx, VirtualClock


@asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[SimulatedPbx, SimulatedApp]]:
    clock = VirtualClock()
    async with SimulatedPbx(clock=clock, **options) as pbx, SimulatedApp(clock=clock, pbx_url=pbx.url) as app:
        app.pbx_url = pbx.url
        yield pbx, app
        assert pbx.accidents == []


@pytest.fixture
def journey() -> Callable[..., None]:
    """Run ``work(pbx, app)`` with a deadline over all of it."""

    def run(work: Callable[[SimulatedPbx, SimulatedApp], Coroutine[Any, Any, None]], **options: Any) -> None:
        async def whole() -> None:
            async with asyncio.timeout(20):
                async with pair(**options) as (pbx, app):
                    await work(pbx, app)

        asyncio.run(whole())

    return run
