"""The simulated PBX answers every command of the reference, in both generations, as the reference says."""

import asyncio
from collections.abc import Awaitable, Callable
from xml.etree import ElementTree as ET

import pytest

from interceptor.simulator import CommandAnswer, CommandClient, Generation, SimulatedPbx, VirtualClock
from interceptor.simulator.events import CommandReceived
from interceptor.wire import knowledge
from interceptor.wire.knowledge import Generation as Dialect

Work = Callable[[SimulatedPbx, CommandClient], Awaitable[CommandAnswer]]


def asked(work: Work, *, generation: Generation = Generation.PHONE_SYSTEM, **options: object) -> CommandAnswer:
    """What the PBX answers to the last command of ``work``."""

    async def perform() -> CommandAnswer:
        clock = VirtualClock()
        async with SimulatedPbx(clock=clock, generation=generation, **options) as pbx:  # type: ignore[arg-type]
            client = CommandClient(pbx.url, clock, pbx.log)
            try:
                return await work(pbx, client)
            finally:
                await client.close()

    return asyncio.run(perform())


OLD = [each.name for each in knowledge.COMMAND_TYPES if Dialect.PHONE_SYSTEM in each.generations]


@pytest.mark.parametrize("name", OLD)
def test_every_command_of_the_phone_system_is_known(name: str) -> None:
    answer = asked(lambda _, client: client.send(name))
    assert answer.status == 200
    assert answer.code not in {None, 301}


NEW = [each.name for each in knowledge.COMMAND_TYPES if Dialect.TEN in each.generations]


@pytest.mark.parametrize("name", NEW)
def test_every_command_of_the_newer_generation_is_known_there(name: str) -> None:
    answer = asked(lambda _, client: client.send(name), generation=Generation.OZEKI_10)
    assert answer.status == 200
    assert answer.code not in {None, 301}


@pytest.mark.parametrize(
    ("name", "generation"), [("ForwardCall", Generation.PHONE_SYSTEM), ("GetCallHistory", Generation.OZEKI_10)]
)
def test_a_command_of_the_other_generation_is_not_implemented(name: str, generation: Generation) -> None:
    assert asked(lambda _, client: client.send(name), generation=generation).code == 301


def test_an_unknown_command_meets_301_with_its_name() -> None:
    answer = asked(lambda _, client: client.send("MakeCoffee"))
    assert (answer.code, answer.message) == (301, "Not implemented command: 'MakeCoffee'")


def test_a_call_that_is_not_there_meets_601_with_its_id() -> None:
    answer = asked(lambda _, client: client.send("Hangup", (("CallId", "7Kq2pX"),)))
    assert (answer.code, answer.message) == (601, "Call not found with ID '7Kq2pX'")


def test_names_are_compared_without_case() -> None:
    answer = asked(lambda _, client: client.send("hangup", (("callid", "7Kq2pX"),)))
    assert answer.code == 601


@pytest.mark.parametrize(
    ("credentials", "code"),
    [((), 304), ((("Username", "u"), ("Password", "no")), 305), ((("Username", "u"), ("Password", "p")), 200)],
)
def test_credentials_are_asked_for_where_users_are_configured(
    credentials: tuple[tuple[str, str], ...], code: int
) -> None:
    answer = asked(lambda _, client: client.send("ListExtensions", credentials), users={"u": "p"})
    assert answer.code == code


def test_a_running_call_is_listed_and_can_be_hung_up() -> None:
    async def work(pbx: SimulatedPbx, client: CommandClient) -> CommandAnswer:
        pbx.directory.keep(_sip("1405"))
        call = pbx.dial("+36201234567", "1405")
        listed = await client.send("ListActiveCalls")
        assert [call.id] == listed.texts("CallId")
        await client.send("Hangup", (("CallId", call.id),))
        await pbx.wait_for_end(call)
        return await client.send("ListActiveCalls")

    assert asked(work).texts("CallId") == []


def test_a_command_by_post_and_one_without_a_question_mark_are_understood() -> None:
    async def work(pbx: SimulatedPbx, client: CommandClient) -> CommandAnswer:
        answer = await client.send("ListExtensions", method="POST")
        assert [each.name for each in pbx.log.of(CommandReceived)] == ["ListExtensions"]
        return answer

    assert asked(work).code == 200


def _sip(number: str):
    from interceptor.simulator import Extension

    return Extension(id=number)


@pytest.mark.parametrize(
    ("name", "parameters", "generation", "payload"),
    [
        ("ListActiveCalls", (), Generation.PHONE_SYSTEM, "ActiveCalls"),
        ("ListExtensions", (), Generation.PHONE_SYSTEM, "Extensions/ExtensionSummary"),
        ("ListExtensionTypes", (), Generation.PHONE_SYSTEM, "ExtensionTypes/ExtensionType"),
        ("GetCallHistory", (), Generation.PHONE_SYSTEM, "NumberOfCalls"),
        ("ListCallHistory", (), Generation.OZEKI_10, "NumberOfCalls"),
        ("ListAddressbookNames", (), Generation.OZEKI_10, "Addressbooks"),
        ("ListAddressbookContacts", (), Generation.OZEKI_10, "Addressbooks"),
        ("SendSms", (("Recipient", "+36201234567"), ("Message", "Hi")), Generation.OZEKI_10, "SmsId"),
        ("SendEmail", (("Recipient", "a@b.test"), ("Subject", "Hi"), ("Message", "x")), Generation.OZEKI_10, "EmailId"),
    ],
)
def test_an_answer_has_the_payload_of_its_command(
    name: str, parameters: tuple[tuple[str, str], ...], generation: Generation, payload: str
) -> None:
    answer = asked(lambda _, client: client.send(name, parameters), generation=generation)
    root = ET.fromstring(answer.body)
    assert (root.tag, answer.code, root.find(payload) is not None) == ("Response", 200, True)


ALARM = {
    "PhoneNumber": "2405",
    "ApiExtension": "9000",
    "AccountNumber": "1234",
    "EventCode": "130",
    "PartitionNumber": "1",
    "ZoneNumber": "15",
}


@pytest.mark.parametrize("missing", ["", "PhoneNumber", "AccountNumber", "EventCode", "PartitionNumber", "ZoneNumber"])
def test_an_alarm_needs_all_that_tells_what_it_is_of(missing: str) -> None:
    given = tuple((name, value) for name, value in ALARM.items() if name != missing)
    answer = asked(lambda _, client: client.send("SendAlarmNotification", given))
    assert answer.code == 302 if missing else answer.code != 302
