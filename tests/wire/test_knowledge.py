"""The table of knowledge is complete: every name that the protocol reference mentions is in it, in the right place."""

import pytest

from interceptor.values import Kind
from interceptor.wire import knowledge
from interceptor.wire.knowledge import Generation, Group, Role, VerbSet

COMMANDS_OF_THE_PHONE_SYSTEM = [
    "Call",
    "SendSms",
    "SendEmail",
    "SendAlarmNotification",
    "AttendedTransfer",
    "BlindTransfer",
    "Forward",
    "Hangup",
    "Hold",
    "Unhold",
    "ListActiveCalls",
    "Play",
    "Record",
    "SendDTMF",
    "Speak",
    "AddConfig",
    "ModifyConfig",
    "GetConfig",
    "RemoveConfig",
    "ListExtensions",
    "ListExtensionTypes",
    "GetCallHistory",
]
NEW_IN_OZEKI_10 = [
    "ForwardCall",
    "ListCallHistory",
    "Beep",
    "CallSetup",
    "Exit",
    "Request",
    "SendMessage",
    "ReceiveMessage",
    "SendMsg",
    "WaitForMsg",
    "ListAddressbookNames",
    "ListAddressbookContacts",
]
NOTIFICATIONS = [
    "RoutingInterception",
    "CallChanged",
    "RecordCompleted",
    "CallConnected",
    "IncomingCall",
    "IncomingSMS",
    "SMSDeliveryReport",
    "DtmfEntered",
    "GoTo",
    "Error",
]
VERBS_OF_THE_PHONE_SYSTEM = [
    "Route",
    "AttendedTransfer",
    "BlindTransfer",
    "Forward",
    "Hangup",
    "Hold",
    "Unhold",
    "Play",
    "Record",
    "SendDTMF",
    "Speak",
    "Array",
    "Call",
    "Delay",
    "DeleteFile",
    "ForEach",
    "GoTo",
    "MoveFile",
    "ReceiveAlarmNotification",
    "Reject",
    "SendAlarmNotification",
    "SendEmail",
    "SendSms",
    "SQL",
    "UserInput",
    "Var",
]
STRUCTURE = ["InitialCommands", "Inputs", "Input", "Received", "item", "OnSetup", "OnError"]
PARAMETERS = [
    "command",
    "Username",
    "Password",
    "Dialed",
    "Dialled",
    "ApiExtension",
    "CallerId",
    "CallerDisplayName",
    "Url",
    "ErrorUrl",
    "FinishedUrl",
    "ResponseOzML",
    "RingTime",
    "Sender",
    "Recipient",
    "Message",
    "Subject",
    "Attachments",
    "DeliveryReportURL",
    "DelivaryReportURL",
    "PhoneNumber",
    "ResultUrl",
    "AccountNumber",
    "EventQualifier",
    "EventCode",
    "PartitionNumber",
    "ZoneNumber",
    "TransferredCallId",
    "TranferredCallId",
    "TargetCallId",
    "CallId",
    "TransferorParty",
    "Target",
    "Destination",
    "Party",
    "AudioFile",
    "Repeat",
    "Timeout",
    "Format",
    "FinishedURL",
    "Keys",
    "Text",
    "Voice",
    "Language",
    "ExtensionType",
    "ConfigXML",
    "ExtensionId",
    "Type",
    "PageNumber",
    "RowsPerPage",
    "From",
    "General",
    "Direction",
    "Source",
    "State",
    "Caller",
    "Callee",
    "DialedAddress",
    "ExtensionAddress",
    "CallerPhoneNumber",
    "RequestOzML",
    "ToConnection",
    "NotificationName",
    "CallerID",
    "OriginalDialedNumber",
    "LastDialedNumber",
    "LastCalledExtension",
    "LastCallState",
    "CallerExtension",
    "RecordURL",
    "DtmfDigits",
    "DialedNumber",
    "Duration",
    "Inactivity",
    "FinishDigits",
    "Digits",
    "BackKey",
    "ForwardToUrl",
    "enteredUrl",
    "MinDigits",
    "MaxDigits",
    "ExecuteSQL",
    "ID",
    "SourceFile",
    "TargetDirectory",
]


def test_every_command_of_the_reference_is_known():
    assert sorted(COMMANDS_OF_THE_PHONE_SYSTEM + NEW_IN_OZEKI_10) == sorted(knowledge.COMMANDS)
    assert len(COMMANDS_OF_THE_PHONE_SYSTEM) == 22


def test_every_notification_of_the_reference_is_known():
    assert sorted(NOTIFICATIONS) == sorted(knowledge.NOTIFICATIONS)


def test_every_verb_of_the_reference_is_known():
    new = [name for name in NEW_IN_OZEKI_10 if name != "ListCallHistory"]
    assert sorted(VERBS_OF_THE_PHONE_SYSTEM + new) == sorted(knowledge.VERBS)
    assert len(VERBS_OF_THE_PHONE_SYSTEM) == 26


def test_every_structural_element_of_the_reference_is_known():
    assert sorted(STRUCTURE) == sorted(printed for printed, _ in knowledge.STRUCTURE.values())


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_of_the_reference_is_known(name: str):
    assert knowledge.parameter_name(name) == knowledge.PARAMETER_NAMES[name]


@pytest.mark.parametrize("name", NEW_IN_OZEKI_10)
def test_what_only_the_newer_generation_has_says_so(name: str):
    known = knowledge.command(name)
    assert known is not None
    assert frozenset({Generation.TEN}) == known.generations


@pytest.mark.parametrize(
    ("ask", "names"),
    [
        (knowledge.command, knowledge.COMMANDS),
        (knowledge.notification, knowledge.NOTIFICATIONS),
        (knowledge.verb, knowledge.VERBS),
    ],
)
def test_names_are_found_in_any_case_and_unknown_ones_are_not(ask, names):
    for name in names:
        assert ask(name) is ask(name.upper()) is ask(name.lower()) is not None
    assert ask("Kall") is None
    assert ask("") is None


def test_names_are_folded_in_ascii_only():
    assert knowledge.lower("HANGUP") == "hangup"
    assert knowledge.lower("\u212aeys") == "\u212aeys"  # str.lower() would make the Kelvin sign a k
    assert knowledge.command("\u212aall") is None
    assert knowledge.lower("\u0130D") == "\u0130d"


@pytest.mark.parametrize(
    ("name", "dialled"),
    [
        ("Call", ("dialed",)),
        ("SendSms", ("recipient",)),
        ("SendAlarmNotification", ("phonenumber",)),
        ("BlindTransfer", ("target",)),
        ("Forward", ("destination",)),
        ("ForwardCall", ("destination",)),
        ("CallSetup", ("callee", "caller")),
        ("Request", ("dialedaddress",)),
        ("SendEmail", ()),
        ("Hangup", ()),
        ("GetCallHistory", ()),
    ],
)
def test_commands_say_which_parameter_they_dial(name: str, dialled: tuple[str, ...]):
    assert dialled == knowledge.command(name).dialled


def test_a_route_dials_its_number_on_the_line_that_is_its_destination():
    assert knowledge.verb("Route").dialled == ("dialednumber", "destination")
    assert knowledge.verb("Route").text == "destination"


def test_the_caller_of_a_call_is_its_extension_where_nothing_else_is_shown():
    assert knowledge.command("Call").caller == ("callerid", "apiextension")
    assert knowledge.notification("RoutingInterception").caller == ("callerid",)


def test_only_commands_that_list_or_get_are_safe_to_repeat():
    safe = {name for name in knowledge.COMMANDS if knowledge.command(name).safe_to_repeat}
    assert {name for name in knowledge.COMMANDS if name.startswith(("List", "Get"))} == safe


def test_notifications_know_who_waits_for_the_answer():
    groups = {name: knowledge.notification(name).notification_group for name in knowledge.NOTIFICATIONS}
    assert Group.ROUTING is groups.pop("RoutingInterception")
    interactive = {name for name, group in groups.items() if group is Group.INTERACTIVE}
    assert {"CallConnected", "IncomingCall", "DtmfEntered", "GoTo"} == interactive
    assert {Group.REPORT} == {group for name, group in groups.items() if name not in interactive}


def test_verbs_know_the_answers_they_may_stand_in():
    assert frozenset({VerbSet.ROUTING}) == knowledge.verb("Route").verb_sets
    assert frozenset({VerbSet.THIRD_PARTY}) == knowledge.verb("Forward").verb_sets
    assert frozenset({VerbSet.THIRD_PARTY, VerbSet.EXTENSION}) == knowledge.verb("Play").verb_sets


def test_passwords_and_configurations_are_secret_everywhere():
    assert {"password", "configxml"} <= knowledge.SECRET_NAMES
    assert frozenset({"password", "configxml"}) == knowledge.command("AddConfig").secrets
    for name in knowledge.COMMANDS:
        assert "password" in knowledge.command(name).secrets
    assert Role.SECRET is knowledge.role(None, "password")
    assert Role.SECRET is knowledge.role(knowledge.notification("Error"), "api_key")


def test_a_parameter_that_is_not_listed_has_the_role_needing_most_care_elsewhere():
    assert Role.FREE_TEXT is knowledge.role(knowledge.command("SendEmail"), "message")
    assert Role.PLAIN is knowledge.role(knowledge.command("SendEmail"), "recipient")
    assert Role.NUMBER_DIALLED is knowledge.role(None, "recipient")
    assert Role.DTMF is knowledge.role(knowledge.notification("CallChanged"), "dtmfdigits")
    assert Role.PLAIN is knowledge.role(None, "x-anything")


def test_unknown_messages_dial_whatever_their_kind_dials():
    assert {"dialed", "recipient", "target", "destination", "phonenumber"} <= set(
        knowledge.unknown(Kind.COMMAND).dialled
    )
    assert Group.REPORT is knowledge.unknown(Kind.NOTIFICATION).notification_group
    assert "dialednumber" in knowledge.unknown(Kind.VERB).dialled


def test_every_callback_place_of_the_reference_is_known():
    places = {(place.kind, place.message, place.parameter): place for place in knowledge.CALLBACK_PLACES}
    commands = {(each.message, each.parameter) for each in places.values() if each.kind is Kind.COMMAND}
    verbs = {(each.message, each.parameter) for each in places.values() if each.kind is Kind.VERB}
    both = {
        ("Call", "Url"),
        ("Call", "ErrorUrl"),
        ("Call", "FinishedUrl"),
        ("Call", "ResponseOzML"),
        ("CallSetup", "ErrorUrl"),
        ("SendSms", "DeliveryReportURL"),
        ("SendSms", "DelivaryReportURL"),
        ("SendAlarmNotification", "ResultUrl"),
        ("Request", "RequestOzML"),
    }
    assert both | {("Record", "FinishedURL")} == commands
    assert (
        both
        | {
            ("Record", "FinishedUrl"),
            ("UserInput", "ForwardToUrl"),
            ("UserInput", "enteredUrl"),
            ("GoTo", "Url"),
            ("BlindTransfer", "FinishedUrl"),
        }
        == verbs
    )
    assert places[Kind.COMMAND, "Call", "Url"].notification == "CallConnected"
    assert places[Kind.VERB, "BlindTransfer", "FinishedUrl"].notification == ""
    assert places[Kind.VERB, "GoTo", "Url"].in_text
    assert places[Kind.COMMAND, "Call", "ResponseOzML"].holds_verbs
    assert all(each.notification in ("", *knowledge.NOTIFICATIONS) for each in places.values())


def test_files_that_the_pbx_fetches_are_no_callbacks():
    assert Role.FILE is knowledge.command("Play").parameters["audiofile"].role
    assert Role.FILE is knowledge.notification("RecordCompleted").parameters["recordurl"].role
