"""A firewall with a policy of its own, keys of its own, and one app that answers."""

from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from interceptor.audit.record import Recorder
from interceptor.callbacks import Capture, Keyring, Targets
from interceptor.firewall import Circumstances, Firewall, Judged
from interceptor.loading import policy_context
from interceptor.policy import RuleSet, Source, compile_policy
from interceptor.settings import Limits
from interceptor.values import Kind, SetParameter, Verdict
from interceptor.wire.knowledge import MessageType
from interceptor.wire.numbers import NumberReader
from tests.gateway.harness import settings_for

PUBLIC = "http://proxy.test:7781"
KEYS = Keyring([b"k" * 32])
HERE = Circumstances("e-1", "notifications", "crm", 1000.0, caller_waits=True)
_SETTINGS = settings_for(Path("/nowhere"), [9780], app=8001)
_APPS = {"crm": replace(_SETTINGS.apps["crm"], callbacks=("app.test", "app2.test"))}
_CAPTURE = Capture(PUBLIC, KEYS, Targets(_APPS), 3600.0)
_ALL = "rules:\n  - {name: all, on: verb, allow: true}\n"


def policy(rules: str, default: Verdict = Verdict.ALLOW) -> RuleSet:
    """These rules; ``default`` is what happens to verbs that none of them decides."""
    settings = replace(_SETTINGS, defaults={**_SETTINGS.defaults, Kind.VERB: default})
    return compile_policy([Source("test.yaml", rules.encode())], policy_context(settings))


_ALLOW_ALL = policy(_ALL)


def firewall(limits: Limits = Limits()) -> Firewall:  # noqa: B008 - a frozen value
    """A firewall that captures callbacks."""
    return Firewall(Recorder("w0", _SETTINGS.journal.masking), NumberReader("HU", ("1xxx",)), limits, _CAPTURE)


_FIREWALL = firewall()


def answered(
    body: bytes, rules: RuleSet = _ALLOW_ALL, here: Circumstances = HERE, limits: Limits | None = None
) -> Judged:
    """What becomes of an answer that can be read."""
    judged = (_FIREWALL if limits is None else firewall(limits)).answer(body, here, rules, None)
    assert judged is not None
    return judged


def command(
    message: MessageType | None, values: Mapping[str, str], rules: RuleSet = _ALLOW_ALL, *, emergency: bool = False
) -> tuple[tuple[SetParameter, ...], Judged]:
    """What is to change in a command, and what was done."""
    return _FIREWALL.command(message, values, HERE, rules, None, emergency=emergency)
