"""A small site: settings and a policy of a few rules, and cases for it."""

from pathlib import Path

import pytest

from interceptor.cases import run
from interceptor.config import read_config
from interceptor.loading import policy_context
from interceptor.policy import Source, compile_policy

CONFIG = b"""\
country: HU
extensions: ["1xxx"]
time_zone: Europe/Budapest
listeners:
  commands: {kind: command, address: "127.0.0.1:0"}
clusters:
  pbx-main: {endpoints: ["http://127.0.0.1:9780"]}
  pbx-marketing: {endpoints: ["http://127.0.0.1:9781"]}
default_cluster: pbx-main
apps:
  crm: {sources: ["10.0.0.0/8"], url: "http://10.0.0.1:8001/pbx"}
  shop: {username: shop, password: {env: SHOP}, url: "http://10.0.0.2:8001/pbx"}
notifications:
  - {path: /shop, app: shop}
  - {app: crm}
"""
RULES = b"""\
rules:
  - name: premium-never
    on: [Call, verb:BlindTransfer]
    when: {number: {class: premium}}
    deny: {code: 306, message: Not premium}
  - name: shown
    on: command:Call
    when: {app: crm, any: [{number: {country: HU}}, {ApiExtension: {prefix: "2"}}]}
    rewrite: {set: {CallerId: "+3612222222"}, remove: X-Debug}
    tag: shown
  - name: trial
    mode: shadow
    on: Call
    when: {number: {not: {country: HU}}}
    deny: true
  - name: marketing
    on: command:Call
    when: {ApiExtension: {prefix: "2"}}
    reroute: pbx-marketing
  - name: night
    on: RoutingInterception
    when: {time: {not: {hours: "08:00-18:00"}}}
    answer: [{Route: {Destination: "1099"}}]
  - name: calls
    on: [Call, verb:BlindTransfer]
    allow: true
  - name: sleeping
    mode: off
    on: Hangup
    when: {CallId: "7"}
    deny: true
"""


@pytest.fixture(scope="session")
def settings():
    return read_config(CONFIG, "config.yaml", base=Path("/site"), environment={}, secrets=False)


@pytest.fixture(scope="session")
def policy(settings):
    return compile_policy([Source("rules/all.yaml", RULES)], policy_context(settings))


@pytest.fixture(scope="session")
def tried(settings, policy):
    """Run the cases that a text holds."""

    def run_text(text, **options):
        return run([Source("rules/all.test.yaml", text.encode())], policy, settings, **options)

    return run_text


@pytest.fixture(scope="session")
def differences(tried):
    """What differs in the only case of a text, a line each."""

    def of(text, **options):
        report = tried(text, **options)
        assert report.problems == ()
        (result,) = report.results
        return [str(difference) for difference in result.differences]

    return of


@pytest.fixture(scope="session")
def problems(tried):
    """The problems of a text, each as `line:column: message`."""

    def of(text):
        report = tried(text)
        assert not report.ok
        assert report.results == ()
        return [str(problem).partition(":")[2] for problem in report.problems]

    return of
