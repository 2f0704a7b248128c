"""How long what the simulated PBX and app read may be."""

import asyncio
import logging

import aiohttp
import pytest
import yarl

from interceptor.simulator import SimulatedPbx, VirtualClock
from interceptor.simulator.events import CommandReceived


def asked(parameter: str = "", header: str = "") -> tuple[int, list[CommandReceived]]:
    """The status of the answer to a command by GET with these, and what the PBX has seen."""

    async def ask() -> tuple[int, list[CommandReceived]]:
        async with SimulatedPbx(clock=VirtualClock()) as pbx, aiohttp.ClientSession() as session:
            url = yarl.URL(f"{pbx.url}/?command=ListExtensions&More={parameter}", encoded=True)
            async with session.get(url, headers={"X-More": header}) as answer:
                return answer.status, pbx.log.of(CommandReceived)

    return asyncio.run(ask())


def test_a_command_by_get_may_be_as_long_as_64_kib() -> None:
    status, seen = asked(parameter="a" * 65_000)
    assert (status, [each.get("More") for each in seen]) == (200, ["a" * 65_000])


def test_a_header_may_be_as_long_as_64_kib() -> None:
    assert asked(header="a" * 65_000)[0] == 200


@pytest.mark.parametrize("what", ["parameter", "header"])
def test_what_is_longer_is_told_400_and_is_one_line_in_the_log(what: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert asked(**{what: "a" * 70_000}) == (400, [])
    assert [record.getMessage() for record in caplog.records] == [
        "a request from 127.0.0.1 cannot be read: Got more than 65536 bytes"
    ]
    assert [record.exc_info for record in caplog.records] == [None]
