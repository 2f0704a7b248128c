"""Names of messages, verbs and parameters in scenarios, held against those that the reference lists.

A name that is near a listed one is most likely meant to be that one, and a step that waits for what never comes, or is
glad that it did not come, would not tell. Others pass: a PBX and an app may have names of their own. `other:Name`
writes one that is near and really called so; what an address in the scenario carries in its query, and the fields
`X-…` that the simulator has invented, need no such word.
"""

import re
from collections.abc import Iterable

from interceptor.document import Node, Problems, Text, nearest, text
from interceptor.values import Problem
from interceptor.wire import knowledge

COMMANDS = knowledge.COMMANDS
NOTIFICATIONS = knowledge.NOTIFICATIONS
MESSAGES = (*COMMANDS, *NOTIFICATIONS)
VERBS = (*knowledge.VERBS, *(printed for printed, _ in knowledge.STRUCTURE.values()))

INVENTED = "X-"
"""How the fields begin that no page of the reference shows, and that the simulator sends."""

_OTHER = "other:"


_IN_QUERY = re.compile(r"[?&]([^=&?\s\"']+)=")


class ScenarioProblems(Problems):
    """The problems of one scenario; ``own`` are the parameters that its apps have put into their addresses."""

    __slots__ = ("own",)

    def __init__(self, known: Iterable[Problem], written: str) -> None:
        super().__init__(known)
        self.own = frozenset(name.lower() for name in _IN_QUERY.findall(written))


def read_name(node: Node, problems: Problems, what: str, known: Iterable[str]) -> str:
    """The name of a ``what``: a command, a verb. Capitals make no difference, as where it is played."""
    return _checked(text(node, problems, f"the name of a {what}") or "", node, problems, what, known)


def read_parameter(key: Text, problems: ScenarioProblems) -> str:
    """The name of a parameter, or of an attribute of a verb."""
    if key.value.startswith(INVENTED) or key.value.lower() in problems.own:
        return key.value
    return _checked(key.value, key, problems, "parameter", knowledge.SPELLED_NAMES)


def _checked(written: str, node: Node, problems: Problems, what: str, known: Iterable[str]) -> str:
    if written.startswith(_OTHER):
        return written.removeprefix(_OTHER).strip()
    also = knowledge.PARAMETER_NAMES if what == "parameter" else ()
    names = {name.lower(): name for name in known}
    hint = "" if written.lower() in {*names, *also} else nearest(written, names.values())
    if hint:
        message = f"unknown {what} `{written}`{hint} If it is really called that: `{_OTHER}{written}`"
        problems.add(node.place, message, "unknown_name")
    return written
