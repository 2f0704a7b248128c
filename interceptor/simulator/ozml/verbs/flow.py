"""Verbs that steer: Var, Array, ForEach, GoTo, Exit."""

from urllib.parse import urlsplit

from interceptor.simulator.answers import CommandError
from interceptor.simulator.ozml.document import attribute, main
from interceptor.simulator.ozml.session import JumpError, LeaveError, Session, VerbHandler
from interceptor.values import Verb

MAX_VALUES = 1000


async def _var(session: Session, verb: Verb) -> None:
    name = attribute(verb, "ID")
    if not name or len(session.variables) >= MAX_VALUES:
        raise CommandError(302, "ID", verb.name)
    session.variables[name.removeprefix("$").lower()] = main(verb, "Value")


async def _array(session: Session, verb: Verb) -> None:
    name = attribute(verb, "ID")
    if not name or len(session.arrays) >= MAX_VALUES:
        raise CommandError(302, "ID", verb.name)
    items = [session.filled(item) for item in verb.children[:MAX_VALUES] if item.name.lower() == "item"]
    session.arrays[name.removeprefix("$").lower()] = tuple(_item(item) for item in items)


def _item(item: Verb) -> dict[str, str]:
    """An item's text under ``""``, its members (attributes, or elements inside it) under their names."""
    members = {name.lower(): value for name, value in item.attributes}
    members |= {inner.name.lower(): inner.text for inner in item.children}
    return {"": item.text, **members}


async def _for_each(session: Session, verb: Verb) -> None:
    source = (attribute(verb, "Source") or "").removeprefix("$").lower()
    if source not in session.arrays:
        raise CommandError(302, "Source", verb.name)
    before = dict(session.variables)
    try:
        for item in session.arrays[source]:
            session.variables = dict(session.variables)
            for member, value in item.items():
                session.variables[f"item.{member}" if member else "item"] = value
            await session.perform(verb.children)
    finally:
        for name in [name for name in session.variables if name == "item" or name.startswith("item.")]:
            del session.variables[name]
        session.variables |= {name: before[name] for name in before if name == "item" or name.startswith("item.")}


async def _go_to(session: Session, verb: Verb) -> None:
    """What is no address is an SQL query for an SQL extension, which the simulated PBX does not have: code 302."""
    url = main(verb, "Url")
    if urlsplit(url).scheme not in {"http", "https"}:
        raise CommandError(302, "Url", verb.name)
    told = await session.ask("GoTo", url, (("CallId", session.call_id),))
    raise JumpError(told.verbs)


async def _leave(_session: Session, _verb: Verb) -> None:
    raise LeaveError


VERBS = (
    VerbHandler("Var", _var, needs_call=False),
    VerbHandler("Array", _array, needs_call=False),
    VerbHandler("ForEach", _for_each, needs_call=False),
    VerbHandler("GoTo", _go_to, needs_call=False),
    VerbHandler("Exit", _leave, needs_call=False),
)
