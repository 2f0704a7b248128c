"""What rules do to a message, as values that can be compared: two policies agree where their effects are equal.

What a refusal says beyond its code counts only where a rule says it: the sentence that names the rule is not an effect.
A limit can go two ways. Both are followed, and ``choices`` says which was taken, so that like is compared with like.
"""

from collections.abc import Iterable
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.actions.allow import Allow
from interceptor.policy.actions.answer import Answer
from interceptor.policy.actions.deny import CODE, Deny
from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.outcome import Action
from interceptor.policy.actions.reroute import Reroute
from interceptor.policy.actions.rewrite import Rewrite
from interceptor.policy.actions.tag import Tag
from interceptor.values import ToApp, ToCluster, ToUrl, Verdict

_REFUSED: Final = (CODE, None)
_ALWAYS: Final = (ToApp, ToCluster, ToUrl)  # other targets are read out of the message, which may not have any


class Effect(Struct, frozen=True):
    """What happens to a message. ``verdict`` is ``None`` while the reading goes on.

    ``target`` is where it goes: the first that says so for the message; of these only the last always does. ``how`` is
    the code and the sentence of a refusal, or the answer; ``others`` is what concerns no sender and no
    receiver (tags, mirrors) or actions that the analysis does not know, each once and in a fixed order.
    """

    verdict: Verdict | None = None
    how: Any = None
    changes: tuple[Any, ...] = ()
    target: tuple[Any, ...] = ()
    others: tuple[Any, ...] = ()
    choices: tuple[Any, ...] = ()

    def after(self, action: Action) -> "Effect":
        """The effect with what one more action does."""
        match action:
            case Allow():
                return replace(self, verdict=Verdict.ALLOW)
            case Deny():
                return replace(self, verdict=Verdict.DENY, how=(action.code, action.message))
            case Answer():
                return replace(self, verdict=Verdict.ANSWER, how=action)
            case Rewrite():
                return replace(self, changes=(*self.changes, *action.changes))
            case Reroute():
                sure = self.target and isinstance(self.target[-1], _ALWAYS)
                return self if sure else replace(self, target=(*self.target, action.target))
            case Tag():
                return replace(self, others=_together(self.others, action.tags))
            case Limit():
                return self
            case _:
                return replace(self, others=_together(self.others, (action,)))

    def ended(self, default: Verdict) -> "Effect":
        """The whole of it, at the end of the reading."""
        verdict = self.verdict or default
        how = self.how
        if verdict is Verdict.DENY and how is None:
            how = _REFUSED
        if verdict is Verdict.ALLOW:
            return replace(self, verdict=verdict, how=None)
        return replace(self, verdict=verdict, how=how, changes=(), target=())


def _together(some: tuple[Any, ...], more: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted({*some, *more}, key=repr))


def limit_of(actions: tuple[Action, ...]) -> Limit | None:
    """The limit among the actions of a rule."""
    return next((action for action in actions if isinstance(action, Limit)), None)


def limits_of(effects: Iterable[Effect]) -> frozenset[Limit]:
    """The limits that decide which of these happens."""
    return frozenset(limit for effect in effects for _, limit in effect.choices)
