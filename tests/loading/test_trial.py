"""What comes into force: nothing that could not be enforced, however far the rules go today."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from interceptor.loading import as_enforced, load_policy
from interceptor.policy import Source
from interceptor.settings import PolicySettings
from interceptor.values import Facts, Kind, Mode, ProblemsError, Verdict
from tests.gateway.harness import settings_for

SETTINGS = settings_for(Path("/nowhere"), [9780], app=8001)
BAD = "rules: [{name: all, on: command, deny: true}]"
GOOD = 'rules: [{name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}]'


def loaded(text, mode):
    settings = replace(SETTINGS, policy=replace(PolicySettings(), mode=mode))
    return load_policy(settings, [Source("p.yaml", text.encode())]), settings


@pytest.mark.parametrize("mode", Mode)
def test_a_policy_on_trial_is_proved_as_it_will_be_enforced(mode):
    with pytest.raises(ProblemsError) as caught:
        loaded(BAD, mode)
    assert "emergency" in str(caught.value)


def test_a_policy_on_trial_denies_nothing_and_can_be_had_as_it_will_be():
    rules, settings = loaded(GOOD, Mode.SHADOW)
    message = Facts(Kind.COMMAND, "ListExtensions", "crm", "10.0.0.7", None, None, {}, {}, 0.0)
    assert rules.decide(message).shadow == ("default: deny",)
    enforced = load_policy(as_enforced(settings), [Source("p.yaml", GOOD.encode())])
    assert (rules.decide(message).verdict, enforced.decide(message).verdict) == (Verdict.ALLOW, Verdict.DENY)
