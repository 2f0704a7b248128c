"""The calls in an answer to ListActiveCalls, of both PBX generations."""

from typing import Final

from msgspec import Struct

from interceptor.wire.answers import read_answer
from interceptor.wire.codes import Code
from interceptor.wire.knowledge import lower
from interceptor.wire.xml import local_name, parse

_LONGEST: Final = 64  # characters of a value: ids, states, numbers and times are shorter


class ActiveCall(Struct, frozen=True, gc=False):
    """A call that the PBX lists; texts as they are written there, cut where they are too long."""

    call_id: str
    state: str
    source: str
    destination: str
    started: str


def read_active_calls(body: bytes) -> tuple[ActiveCall, ...] | None:
    """The calls in an answer, ``None`` where it is none or says that the command was not carried out; never raises.

    A call is whatever has a ``CallId``; the elements around it are called differently by the two generations.
    """
    if read_answer(body).code != Code.OK:
        return None
    root = parse(body, len(body))
    if root is None:
        return None
    found = []
    for element in root.iter():
        values = {lower(local_name(child)): (child.text or "").strip()[:_LONGEST] for child in element}
        if values.get("callid"):
            found.append(
                ActiveCall(
                    values["callid"],
                    values.get("callstate", ""),
                    values.get("source", ""),
                    values.get("destination", ""),
                    values.get("starttime", ""),
                )
            )
    return tuple(found)
