"""How a scenario file writes a phone's behaviour."""

from interceptor.document import Node, Problems, Text, boolean, duration_seconds, fields
from interceptor.simulator.directory import Phone


def read_phone(number: str, node: Node, problems: Problems, *also: str) -> Phone:
    """How a phone behaves: ``answers`` (a duration or ``never``), ``busy``, ``talks``."""
    given = fields(node, ("answers", "busy", "talks", *also), problems, f"the phone `{number}`")
    answers, busy, talks = given.get("answers"), given.get("busy"), given.get("talks")
    seconds: float | None = 2.0
    if isinstance(answers, Text) and answers.value == "never":
        seconds = None
    elif answers is not None:
        seconds = duration_seconds(answers, problems, "`answers`")
    return Phone(
        number=number,
        answers_after_seconds=seconds,
        busy=bool(busy and boolean(busy, problems, "`busy`")),
        talks_seconds=duration_seconds(talks, problems, "`talks`") if talks else None,
    )
