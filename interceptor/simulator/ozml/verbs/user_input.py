"""The menu: UserInput with its InitialCommands, its Inputs, its timeout and the app that takes what no Input knows.

Assumed where the reference is silent: a key cuts the prompt short; ``Timeout`` runs anew after each key and 0 has no
end; keys are looked up among the Inputs when ``Digits`` (or ``MaxDigits``) of them are there, or when time is up;
``Repeat`` plays the menu again after a timeout or an unknown key; ``BackKey`` as the first key leads to the menu above;
after the answer to DtmfEntered the verbs behind the UserInput go on.
"""

from msgspec import Struct

from interceptor.simulator.core import race
from interceptor.simulator.ozml.document import attribute, child
from interceptor.simulator.ozml.session import BackError, Session, VerbHandler
from interceptor.simulator.routing import seconds
from interceptor.values import Verb

MAX_ROUNDS = 100


class Menu(Struct, frozen=True):
    """A UserInput as written."""

    prompt: tuple[Verb, ...]
    inputs: dict[str, tuple[Verb, ...]]
    fewest: int
    most: int
    timeout_seconds: float
    repeat: bool
    back_key: str
    forward_to: str


def read_menu(verb: Verb) -> Menu:
    """Take a UserInput apart; what is no number counts as not written."""
    digits = _count(attribute(verb, "Digits"), 1)
    prompt = child(verb, "InitialCommands")
    inputs = child(verb, "Inputs")
    return Menu(
        prompt=prompt.children if prompt else (),
        inputs={
            attribute(entry, "Key") or "": entry.children
            for entry in (inputs.children if inputs else ())
            if entry.name.lower() == "input"
        },
        fewest=_count(attribute(verb, "MinDigits"), digits),
        most=_count(attribute(verb, "MaxDigits"), digits),
        timeout_seconds=seconds(attribute(verb, "Timeout"), 0.0),
        repeat=(attribute(verb, "Repeat") or "").lower() == "true",
        back_key=attribute(verb, "BackKey") or "",
        forward_to=attribute(verb, "ForwardToUrl", "EnteredUrl") or "",
    )


def _count(text: str | None, otherwise: int) -> int:
    value = text or ""
    return max(1, int(value)) if value.isascii() and value.isdigit() and len(value) < 4 else otherwise


async def _user_input(session: Session, verb: Verb) -> None:
    menu = read_menu(verb)
    for _ in range(MAX_ROUNDS):
        if menu.prompt and not session.party.has_keys:
            await race(session.perform(menu.prompt), session.party.pressed())
        keys = await _collect(session, menu)
        if menu.back_key and keys == menu.back_key:
            raise BackError
        if keys in menu.inputs:
            try:
                await session.perform(menu.inputs[keys])
            except BackError:
                continue
            return
        if menu.forward_to and len(keys) >= menu.fewest:
            fields = (("DtmfDigits", keys), ("CallId", session.call_id))
            told = await session.ask("DtmfEntered", menu.forward_to, fields)
            try:
                await session.perform(told.verbs)
            except BackError:
                continue
            return
        if not menu.repeat:
            return


async def _collect(session: Session, menu: Menu) -> str:
    """The keys that the party presses: as many as are wanted, or those that came before time was up."""
    keys = ""
    while len(keys) < menu.most:
        if menu.timeout_seconds:
            pressed, _ = await race(session.party.pressed(), session.core.clock.sleep(menu.timeout_seconds))
            if not pressed:
                return keys
        keys += await session.party.key()
        if keys == menu.back_key:
            return keys
    return keys


VERBS = (VerbHandler("UserInput", _user_input),)
