"""One set of rules with one meaning, written once and told to every proxy in its own language.

The meaning, the same for all of them:

1. ``Username`` and ``Password`` name one of the :data:`APPS`; otherwise the answer is code 305.
2. A deny rule fits when it has the command, the app (or none), a prefix of the dialled number, and the hour of day
   lies in its window (or it has none). One that fits: the answer is code 306.
3. The allow rule lets a command through whose number begins with one of :data:`ALLOWED_PREFIXES`. What is left is
   refused with 306.

Deny rules all say the same, so their order does not matter, and a proxy may keep them in any index it likes.
"""

import random
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

APPS: Final = {
    "crm": "crm-secret",
    "helpdesk": "helpdesk-secret",
    "billing": "billing-secret",
    "marketing": "marketing-secret",
}
ALLOWED_PREFIXES: Final = ("+36", "+43", "+49")
HOURS: Final = {"night": (20, 6), "office": (8, 18), "noon": (12, 13)}  # from, to; a window may pass midnight; UTC
REFUSED: Final = (306, "This number is not dialled")
UNKNOWN_APP: Final = (305, "Authentication failed, bad username or password")
ALWAYS_DENIED: Final = (
    8  # the first deny rules: of every set, without app and window, so that denied numbers are denied by all
)
NUMBERS: Final = 5_000  # different numbers that are dialled
NUMBERING: Final = ("+3620", "+3630", "+3631", "+3670", "+361")  # real Hungarian ranges: seven digits follow each


class Rule(Struct, frozen=True):
    """Deny ``command`` to ``app`` for numbers with this ``prefix``, in a ``window``; ``""`` is any app, any time."""

    command: str
    app: str
    prefix: str
    window: str


def allowed_numbers(count: int = NUMBERS) -> tuple[str, ...]:
    """Different valid numbers that no rule of any set denies."""
    dice = random.Random(20)
    numbers: dict[str, None] = {}
    while len(numbers) < count:
        numbers[dice.choice(NUMBERING) + str(dice.randrange(2_000_000, 9_000_000))] = None
    return tuple(numbers)


def denied_numbers(count: int) -> tuple[str, ...]:
    """Different numbers that the first rules of every set deny."""
    dice = random.Random(21)
    prefixes = [rule.prefix for rule in deny_rules(ALWAYS_DENIED)]
    numbers: dict[str, None] = {}
    while len(numbers) < count:
        prefix = dice.choice(prefixes)
        digits = (10 if prefix.startswith("+361") else 11) + 1 - len(prefix)
        numbers[prefix + "".join(dice.choices("0123456789", k=digits))] = None
    return tuple(numbers)


def deny_rules(count: int) -> tuple[Rule, ...]:
    """``count`` deny rules, every one with another prefix, all of them near the numbers that are dialled."""
    spared = {number[:length] for number in allowed_numbers() for length in range(5, 13)}
    return tuple(_take(count, spared))


def _take(count: int, spared: set[str]) -> Iterator[Rule]:
    dice = random.Random(22)
    seen: set[str] = set()
    while len(seen) < count:
        general = len(seen) < ALWAYS_DENIED
        # Long prefixes are blocks of one company, short ones whole services: both occur, the long ones far more often.
        digits = 3 if general else dice.choices((3, 4, 5, 6), weights=(1, 4, 8, 8))[0]
        prefix = dice.choice(NUMBERING) + "".join(dice.choices("0123456789", k=digits))
        if prefix in spared or prefix in seen:
            continue
        seen.add(prefix)
        yield Rule(
            command="Call" if general or dice.random() < 0.8 else dice.choice(("SendSms", "BlindTransfer")),
            app="" if general or dice.random() < 0.15 else dice.choice(tuple(APPS)),
            prefix=prefix,
            window="" if general or dice.random() < 0.85 else dice.choice(tuple(HOURS)),
        )


def in_window(window: str, hour: int) -> bool:
    """Whether this hour of day lies in the window."""
    if not window:
        return True
    begin, end = HOURS[window]
    return begin <= hour < end if begin < end else hour >= begin or hour < end


def as_interceptor(count: int) -> str:
    """The rules as Interceptor reads them: ``count`` in all, the allow rule included."""
    lines = ["rules:"]
    for place, rule in enumerate(deny_rules(count - 1), 1):
        conditions = [f"app: {rule.app}"] if rule.app else []
        conditions.append(f'number: {{prefix: ["{rule.prefix}"]}}')
        if rule.window:
            begin, end = HOURS[rule.window]
            conditions.append(f'time: {{hours: "{begin:02}:00-{end:02}:00"}}')
        lines += [
            f"  - name: deny-{place:05}",
            f"    on: {rule.command}",
            f"    when: {{{', '.join(conditions)}}}",
            f'    deny: {{code: {REFUSED[0]}, message: "{REFUSED[1]}"}}',
        ]
    prefixes = ", ".join(f'"{prefix}"' for prefix in ALLOWED_PREFIXES)
    lines += [
        "  - name: neighbouring-countries-are-dialled",
        "    on: [Call, SendSms, BlindTransfer]",
        f"    when: {{app: [{', '.join(APPS)}], number: {{prefix: [{prefixes}]}}}}",
        "    allow: true",
    ]
    return "\n".join(lines) + "\n"


def as_keys(count: int) -> dict[str, str]:
    """The deny rules as an exact map for proxies that know one: ``command:app:prefix`` to the window."""
    return {
        f"{rule.command}:{app}:{rule.prefix}": rule.window
        for rule in deny_rules(count - 1)
        for app in ((rule.app,) if rule.app else APPS)
    }


def refusal_xml(refusal: tuple[int, str]) -> str:
    """The answer to what is refused, in the PBX's dialect."""
    code, message = refusal
    return f'<?xml version="1.0"?><Response><Code>{code}</Code><Message>{message}</Message></Response>'
