"""The rows of knowledge: every command, notification and verb of both PBX generations.

Read a row as: the name, then its parameters, each made by the word for its role. ``M`` marks what the reference calls
mandatory, ``TEN`` what only Ozeki 10 has, ``OPS`` what only the Ozeki Phone System has. Order counts where several
parameters could be the number: the first that has a value is dialled.

Where the reference cannot tell whether a name of Ozeki 10 is a command or a verb, it stands in both lists.
"""

from interceptor.wire.rows import (
    EXTENSION,
    OPS,
    ROUTING,
    TEN,
    THIRD,
    M,
    call,
    callback,
    command,
    dials,
    digits,
    extension,
    file,
    notification,
    number,
    ozml,
    plain,
    secret,
    shows,
    verb,
    words,
)
from interceptor.wire.vocabulary import Group, MessageType, ParameterType

# Names whose values are secret wherever they occur. The first two are the PBX's own (extension configurations hold
# passwords in clear); the others are what applications commonly call theirs.
SECRET_NAMES: frozenset[str] = frozenset(
    ("password", "configxml", "passwd", "pwd", "secret", "token", "access_token", "apikey", "api_key")
)

# What a message about a call is likely to carry. The reference shows these names elsewhere, never in the notification
# itself, so they are a reading aid: a rule that leans on them should be tried against the PBX at hand.
_CALL_FACTS = (call("CallId"), shows("CallerId"), dials("Dialed"))

_ALARM = (
    dials("PhoneNumber", M),
    extension("ApiExtension"),
    callback("ResultUrl", ""),
    plain("AccountNumber", M),
    plain("EventQualifier"),
    plain("EventCode", M),
    plain("PartitionNumber", M),
    plain("ZoneNumber", M),
)
_HISTORY = (
    plain("PageNumber"),
    plain("RowsPerPage"),
    plain("From"),
    plain("General"),
    plain("Direction"),
    number("Source"),
    number("Destination"),
    plain("State"),
    number("Dialed"),
    number("CallerId"),
    call("CallId"),
)
_PARTY = plain("Party", M)
# The PBX calls both parties of a CallSetup.
_SETUP = (dials("Callee"), dials("Caller"), callback("ErrorUrl", "Error"))
_REQUEST = (
    dials("DialedAddress"),
    extension("ExtensionAddress"),
    shows("CallerPhoneNumber"),
    words("CallerDisplayName"),
    plain("RingTime"),
    ozml("RequestOzML"),
)
_MESSAGE = (shows("Sender"), dials("Recipient"), words("Message", as_text=True))

COMMAND_TYPES: tuple[MessageType, ...] = (
    command(
        "Call",
        dials("Dialed", M),
        dials("Dialled"),
        extension("ApiExtension", M),
        shows("CallerId"),
        words("CallerDisplayName"),
        callback("Url", "CallConnected", M),
        callback("ErrorUrl", "Error"),
        callback("FinishedUrl", "", generations=TEN),
        ozml("ResponseOzML", generations=TEN),
        plain("RingTime", generations=TEN),
        shown_else=("apiextension",),  # the default of CallerId
        pickup=True,
    ),
    command(
        "SendSms",
        dials("Recipient", M),
        extension("ApiExtension", M, OPS),
        shows("Sender"),
        words("Message", M),
        callback("DeliveryReportURL", "SMSDeliveryReport"),
        callback("DelivaryReportURL", "SMSDeliveryReport", generations=TEN),
    ),
    command(
        "SendEmail",
        extension("ApiExtension", M, OPS),
        plain("Sender"),
        plain("Recipient", M),
        words("Message"),
        words("Subject"),
        file("Attachments", generations=TEN),
    ),
    command("SendAlarmNotification", *_ALARM),
    command("AttendedTransfer", call("TransferredCallId", M), call("TranferredCallId"), call("TargetCallId", M)),
    command("BlindTransfer", dials("Target", M), call("CallId", M), plain("TransferorParty", M)),
    command("Forward", dials("Destination", M), call("CallId", M), generations=OPS),
    command("ForwardCall", dials("Destination", M), call("CallId", M), generations=TEN),
    command("Hangup", call("CallId", M)),
    command("Hold", call("CallId", M)),
    command("Unhold", call("CallId", M)),
    command("ListActiveCalls", repeat=True),
    command(
        "Play",
        call("CallId", M),
        _PARTY,
        file("AudioFile", M),
        plain("Repeat"),
        plain("Timeout", generations=TEN),
    ),
    command("Record", call("CallId", M), plain("Format"), callback("FinishedURL", "RecordCompleted")),
    command("SendDTMF", call("CallId", M), _PARTY, digits("Keys", M)),
    command("Speak", call("CallId", M), words("Text", M), _PARTY, plain("Voice", generations=TEN)),
    command("AddConfig", plain("ExtensionType", M), secret("ConfigXML", M), generations=OPS),
    command("ModifyConfig", plain("ExtensionType", M), secret("ConfigXML", M), generations=OPS),
    command("GetConfig", extension("ExtensionId", M), generations=OPS, repeat=True),
    command("RemoveConfig", extension("ExtensionId", M), generations=OPS),
    command("ListExtensions", plain("Type", generations=TEN), repeat=True),
    command("ListExtensionTypes", generations=OPS, repeat=True),
    command("GetCallHistory", *_HISTORY, generations=OPS, repeat=True),
    command("ListCallHistory", *_HISTORY, generations=TEN, repeat=True),
    command("CallSetup", *_SETUP, generations=TEN, shown_else=("caller",)),
    command("Request", *_REQUEST, generations=TEN),
    command("SendMessage", *_MESSAGE, generations=TEN),
    command("ReceiveMessage", generations=TEN),  # takes the message away: never asked twice
    command("SendMsg", plain("ToConnection"), words("Message"), generations=TEN),
    command("WaitForMsg", generations=TEN),
    command("ListAddressbookNames", generations=TEN, repeat=True),
    command("ListAddressbookContacts", generations=TEN, repeat=True),
    command("Beep", generations=TEN),
    command("Exit", generations=TEN),
)

NOTIFICATION_TYPES: tuple[MessageType, ...] = (
    notification(
        "RoutingInterception",
        Group.ROUTING,
        shows("CallerID", M),
        dials("OriginalDialedNumber", M),
        number("LastDialedNumber", M),
        extension("LastCalledExtension", M),
        plain("LastCallState", M),
        extension("CallerExtension", M),
    ),
    notification("CallChanged", Group.REPORT, *_CALL_FACTS, plain("CallState")),
    notification("RecordCompleted", Group.REPORT, *_CALL_FACTS, file("RecordURL", M)),
    notification("CallConnected", Group.INTERACTIVE, *_CALL_FACTS),
    notification("IncomingCall", Group.INTERACTIVE, *_CALL_FACTS),
    # Nobody waits on a line for the answer to a message.
    notification("IncomingSMS", Group.REPORT, shows("Sender"), dials("Recipient"), words("Message")),
    notification("SMSDeliveryReport", Group.REPORT, shows("Sender"), dials("Recipient"), plain("SmsId")),
    notification("DtmfEntered", Group.INTERACTIVE, *_CALL_FACTS, digits("DtmfDigits", M)),
    notification("GoTo", Group.INTERACTIVE, *_CALL_FACTS),
    notification("Error", Group.REPORT, *_CALL_FACTS),
)

VERB_TYPES: tuple[MessageType, ...] = (
    verb(
        "Route",
        ROUTING,
        dials("DialedNumber"),  # with it, Destination is the outside line it is dialled on
        dials("Destination", M, as_text=True),
        plain("RingTime"),
        shows("CallerId"),
    ),
    verb("Reject", EXTENSION),
    verb(
        "Speak",
        THIRD | EXTENSION,
        words("Text", M, as_text=True),
        plain("Language"),
        plain("Party"),
        call("CallId"),
        plain("Voice", generations=TEN),
    ),
    verb(
        "Play",
        THIRD | EXTENSION,
        file("AudioFile", M, as_text=True),
        plain("Repeat"),
        plain("Party"),
        call("CallId"),
        plain("Timeout", generations=TEN),
    ),
    verb(
        "Record",
        THIRD | EXTENSION,
        callback("FinishedUrl", "RecordCompleted"),
        plain("Format"),
        call("CallId"),
        plain("Duration"),
        plain("Inactivity"),
        plain("FinishDigits"),
    ),
    verb(
        "UserInput",
        EXTENSION,
        plain("Repeat"),
        plain("Timeout"),
        plain("Digits"),
        plain("BackKey"),
        callback("ForwardToUrl", "DtmfEntered"),
        callback("enteredUrl", "DtmfEntered"),
        plain("MinDigits"),
        plain("MaxDigits"),
        plain("ExecuteSQL", generations=TEN),
    ),
    verb("GoTo", EXTENSION, callback("Url", "GoTo", M, as_text=True)),
    verb(
        "Call",
        EXTENSION,
        dials("Dialled", M, as_text=True),
        dials("Dialed"),
        extension("ApiExtension", M),
        shows("CallerId"),
        words("CallerDisplayName"),
        callback("Url", "CallConnected", M),
        callback("ErrorUrl", "Error"),
        callback("FinishedUrl", "", generations=TEN),
        ozml("ResponseOzML", generations=TEN),
        plain("RingTime", generations=TEN),
        shown_else=("apiextension",),
    ),
    verb(
        "SendSms",
        EXTENSION,
        dials("Recipient", M),
        extension("ApiExtension", M, OPS),
        shows("Sender"),
        words("Message", M, as_text=True),
        callback("DeliveryReportURL", "SMSDeliveryReport"),
        callback("DelivaryReportURL", "SMSDeliveryReport", generations=TEN),
    ),
    verb(
        "SendEmail",
        EXTENSION,
        plain("Recipient", M),
        words("Subject"),
        words("Message", as_text=True),
        plain("Sender"),
        extension("ApiExtension", generations=OPS),
        file("Attachments", generations=TEN),
    ),
    verb(
        "BlindTransfer",
        THIRD | EXTENSION,
        dials("Target", M, as_text=True),
        call("CallId"),
        plain("TransferorParty"),
        callback("FinishedUrl", ""),
    ),
    verb(
        "AttendedTransfer",
        THIRD,
        call("TargetCallId", M),
        call("TransferredCallId"),
        call("TranferredCallId"),
        plain("TransferorParty"),
    ),
    verb("Forward", THIRD, dials("Destination", M), call("CallId"), generations=OPS),
    verb("ForwardCall", THIRD, dials("Destination", M), call("CallId"), generations=TEN),
    verb("Hangup", THIRD | EXTENSION, call("CallId")),
    verb("Hold", THIRD, call("CallId")),
    verb("Unhold", THIRD, call("CallId")),
    verb("SendDTMF", THIRD, plain("Party", M), digits("Keys", M), call("CallId")),
    verb("Delay", EXTENSION, plain("Seconds", as_text=True)),
    verb("Var", EXTENSION, plain("ID", M), words("Value", as_text=True)),
    verb("Array", EXTENSION, plain("ID", M)),
    verb("ForEach", EXTENSION, plain("Source", M)),
    verb("MoveFile", EXTENSION, file("SourceFile", M), file("TargetDirectory", M)),
    verb("DeleteFile", EXTENSION, file("SourceFile", as_text=True)),
    verb("SendAlarmNotification", EXTENSION, *_ALARM),
    verb("ReceiveAlarmNotification", EXTENSION),
    verb("SQL", EXTENSION, words("Query", as_text=True)),
    verb("Beep", EXTENSION, generations=TEN),
    verb("CallSetup", THIRD | EXTENSION, *_SETUP, generations=TEN, shown_else=("caller",)),
    verb("Exit", EXTENSION, generations=TEN),
    verb("Request", EXTENSION, *_REQUEST, generations=TEN),
    verb("SendMessage", EXTENSION, *_MESSAGE, generations=TEN),
    verb("ReceiveMessage", EXTENSION, generations=TEN),
    verb("SendMsg", EXTENSION, plain("ToConnection"), words("Message", as_text=True), generations=TEN),
    verb("WaitForMsg", EXTENSION, generations=TEN),
    verb("ListAddressbookNames", EXTENSION, generations=TEN),
    verb("ListAddressbookContacts", EXTENSION, generations=TEN),
)

# Elements of OzML that are no verbs but hold verbs or values, each with its attributes; in lower case to as printed.
STRUCTURE: dict[str, tuple[str, tuple[ParameterType, ...]]] = {
    "initialcommands": ("InitialCommands", ()),
    "inputs": ("Inputs", ()),
    "input": ("Input", (plain("Key", M),)),
    "received": ("Received", ()),
    "item": ("item", ()),
    "onsetup": ("OnSetup", ()),
    "onerror": ("OnError", ()),
}
