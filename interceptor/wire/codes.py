"""The result codes of the PBX and those of our own, with their sentences.

Codes below 900 are the PBX's; success is 200, and the HTTP status says nothing. From 900 up they are ours, for failures
the PBX has no word for; their sentences carry the exchange id, so that the asker can tell it to the operator. The PBX's
sentences are its wire text, spelling included. Never match an answer by its sentence: the PBX itself varies them.
"""

from enum import Enum, IntEnum

from msgspec import Struct


class Code(IntEnum):
    """Every code that stands in an answer."""

    OK = 200
    PARSE_ERROR = 300
    NOT_IMPLEMENTED_COMMAND = 301
    INVALID_PARAMETER = 302
    INAPPROPRIATE_COMMAND = 303
    AUTHENTICATION_REQUIRED = 304
    AUTHENTICATION_FAILED = 305
    FORBIDDEN_USER = 306
    FORBIDDEN_ADDRESS = 307
    API_EXTENSION_UNAVAILABLE = 401
    CALL_CONNECT_FAILED = 402
    SMS_DESTINATION_NOT_FOUND = 501
    CALL_NOT_FOUND = 601
    CONFIG_NOT_FOUND = 701
    INVALID_CONFIG = 702
    CONFIG_ALREADY_EXISTS = 703
    PBX_UNREACHABLE = 901
    OVERLOADED = 902
    CANNOT_RECORD = 903
    NO_ANSWER_IN_TIME = 904
    INTERNAL_FAULT = 905
    UNREADABLE_ANSWER = 906
    NOT_ALL_ANSWERED = 907


class Side(Enum):
    """Who is to look at it when a command ends with a code."""

    SUCCESS = "success"
    ASKER = "asker"  # the command, its credentials, or what it names
    PBX = "pbx"  # the PBX's own configuration or the outside world
    INTERCEPTOR = "interceptor"


class Meaning(Struct, frozen=True):
    """A code's sentence, with ``{0}`` and ``{1}`` to be filled in, and whose matter it is."""

    template: str
    side: Side


MEANINGS: dict[int, Meaning] = {
    Code.OK: Meaning("Command successfully executed", Side.SUCCESS),
    Code.PARSE_ERROR: Meaning("Error occured during parsing message: '{0}'", Side.ASKER),
    Code.NOT_IMPLEMENTED_COMMAND: Meaning("Not implemented command: '{0}'", Side.ASKER),
    Code.INVALID_PARAMETER: Meaning("Missing or invalid parameter '{0}' for command '{1}'", Side.ASKER),
    Code.INAPPROPRIATE_COMMAND: Meaning("Command '{0}' cannot be used here", Side.ASKER),
    Code.AUTHENTICATION_REQUIRED: Meaning("Authentication required", Side.ASKER),
    Code.AUTHENTICATION_FAILED: Meaning("Authentication failed, bad username or password", Side.ASKER),
    Code.FORBIDDEN_USER: Meaning("User is not allowed to use API in ACL", Side.ASKER),
    Code.FORBIDDEN_ADDRESS: Meaning("Use API from this address is forbidden", Side.ASKER),
    Code.API_EXTENSION_UNAVAILABLE: Meaning(
        "API extension '{0}' unavailable, please check configuration or permissions", Side.PBX
    ),
    Code.CALL_CONNECT_FAILED: Meaning("Call connect to '{0}' failed with result state '{1}'", Side.PBX),
    Code.SMS_DESTINATION_NOT_FOUND: Meaning("Destination of the SMS is not found", Side.ASKER),
    Code.CALL_NOT_FOUND: Meaning("Call not found with ID '{0}'", Side.ASKER),
    Code.CONFIG_NOT_FOUND: Meaning("Configuration for type '{0}' not found", Side.ASKER),
    Code.INVALID_CONFIG: Meaning("Invalid configuration for type '{0}'", Side.ASKER),
    Code.CONFIG_ALREADY_EXISTS: Meaning("Extension configuration already exists", Side.ASKER),
    Code.PBX_UNREACHABLE: Meaning("The PBX cannot be reached, exchange '{0}'", Side.INTERCEPTOR),
    Code.OVERLOADED: Meaning("Too much to do, try again later, exchange '{0}'", Side.INTERCEPTOR),
    Code.CANNOT_RECORD: Meaning("The command was not sent, it cannot be recorded, exchange '{0}'", Side.INTERCEPTOR),
    Code.NO_ANSWER_IN_TIME: Meaning(
        "The PBX gave no answer, the command may have been carried out, exchange '{0}'", Side.INTERCEPTOR
    ),
    Code.INTERNAL_FAULT: Meaning("The command was not sent, internal fault, exchange '{0}'", Side.INTERCEPTOR),
    Code.UNREADABLE_ANSWER: Meaning(
        "The answer of the PBX cannot be read, the command may have been carried out, exchange '{0}'", Side.INTERCEPTOR
    ),
    Code.NOT_ALL_ANSWERED: Meaning(
        "Not every PBX has answered, the list is not whole, exchange '{0}'", Side.INTERCEPTOR
    ),
}


def sentence(code: int, *fills: str) -> str:
    """The sentence of a code with its gaps filled in order; a gap without a fill stays empty, an unknown code has none.

    Fills are put in as they are: braces in them mean nothing.
    """
    meaning = MEANINGS.get(code)
    if meaning is None:
        return ""
    pieces: list[str] = []
    rest = meaning.template
    for index in range(rest.count("{")):
        before, _, rest = rest.partition(f"{{{index}}}")
        pieces += (before, fills[index] if index < len(fills) else "")
    return "".join(pieces) + rest


def drained(exchange: str) -> str:
    """The sentence of code 901 where the PBX could be reached, and is only to get nothing new."""
    return f"The PBX is drained and takes nothing new, exchange '{exchange}'"


def is_ours(code: int) -> bool:
    """Whether a code was made by us and never by a PBX."""
    return code >= Code.PBX_UNREACHABLE
