"""`config.yaml` made into settings: `interceptor.config`."""

import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.config import public, read_config
from interceptor.identity import hash_password
from interceptor.settings import Address, Durability, Mode, Secret, Url
from interceptor.values import Kind, ProblemsError, Verb, Verdict
from interceptor.values import Mode as RuleMode

LEAST = """\
country: HU
time_zone: Europe/Budapest
listeners:
  commands: {kind: command, address: "127.0.0.1:7780"}
clusters:
  pbx: {endpoints: ["http://127.0.0.1:9780"]}
apps:
  crm: {sources: ["10.0.0.0/8"], url: "http://127.0.0.1:8001/pbx"}
"""
EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
EXAMPLE_ENVIRONMENT = {"PBX_PASSWORD": "p1", "CRM_PASSWORD": "p2", "MARKETING_PASSWORD": "p3"}


def settings(text, environment=(), base=Path("/nowhere")):
    return read_config(text.encode(), "config.yaml", base=base, environment=dict(environment))


def problems(text, environment=(), base=Path("/nowhere")):
    with pytest.raises(ProblemsError) as raised:
        settings(text, environment, base)
    return [str(problem).removeprefix("config.yaml:") for problem in raised.value.problems]


def test_the_least_configuration_has_defaults_for_the_rest():
    found = settings(LEAST)
    assert found.workers == 1
    assert found.extensions == ()
    assert found.rules == Path("/nowhere/rules")
    assert found.state == Path("/nowhere/state")
    assert found.journal.directory == Path("/nowhere/state/journal")
    assert found.journal.durability is Durability.STRICT
    assert found.admin == Address("127.0.0.1", 7790)
    assert found.default_cluster == "pbx"
    assert found.defaults == {
        Kind.COMMAND: Verdict.DENY,
        Kind.NOTIFICATION: Verdict.ALLOW,
        Kind.VERB: Verdict.DENY,
    }
    assert found.clusters["pbx"].endpoints == (Url("127.0.0.1", 9780, "/"),)
    assert found.apps["crm"].sources == (ip_network("10.0.0.0/8"),)


def test_the_example_says_what_it_says():
    found = read_config(EXAMPLE.read_bytes(), "x", base=Path("/etc/i"), environment=EXAMPLE_ENVIRONMENT)
    assert [listener.name for listener in found.listeners] == ["commands", "notifications"]
    assert found.listeners[0].mode is Mode.GATEWAY
    assert found.clusters["pbx-main"].credentials.password == Secret("p1")
    assert found.apps["crm"].password.secret == Secret("p2")
    assert found.apps["crm"].urls == {"IncomingSMS": Url("127.0.0.1", 8001, "/sms")}
    assert found.apps["crm"].fallback[1] == Verb("BlindTransfer", (("Target", "1099"),))
    assert [entry.app for entry in found.subscriptions] == ["switchboard", "switchboard", "crm"]
    assert found.journal.masking.numbers == 4
    assert found.journal.flush_seconds == 0.2
    assert found.journal.file_bytes == 256 << 20
    assert found.limits.body == 1 << 20
    assert found.timeouts.routing.total == 3.0


def test_all_rules_may_be_put_on_trial_in_one_place():
    assert settings(LEAST).mode is RuleMode.ENFORCE
    assert settings(LEAST + "policy: {mode: shadow}\n").mode is RuleMode.SHADOW
    assert problems(LEAST + "policy: {mode: shadw}\n")[0].endswith("did you mean `shadow`?")


def test_relative_paths_begin_at_the_folder_of_the_file_and_absolute_ones_stand():
    found = settings(LEAST + "rules: policy\nstate: /var/lib/i\n", base=Path("/etc/i"))
    assert found.rules == Path("/etc/i/policy")
    assert found.journal.directory == Path("/var/lib/i/journal")


def test_numbers_and_words_stay_the_text_they_were():
    found = settings(LEAST + 'extensions: [0612, "1xx"]\n' + "default_cluster: pbx\n")
    assert found.extensions == ("0612", "1xx")


def test_secrets_come_from_the_environment_and_from_files(tmp_path):
    (tmp_path / "secret").write_text("from-file\n")
    text = LEAST.replace('sources: ["10.0.0.0/8"]', "username: crm, password: {file: secret}").replace(
        '["http://127.0.0.1:9780"]', '["http://127.0.0.1:9780"], credentials: {username: u, password: {env: PW}}'
    )
    found = settings(text, {"PW": "from-environment"}, tmp_path)
    assert found.apps["crm"].password.secret == Secret("from-file")
    assert found.clusters["pbx"].credentials.password == Secret("from-environment")


def test_an_app_may_have_a_hash_in_place_of_a_password():
    written = str(hash_password("x", b"0123456789abcdef", log2_n=10))
    text = LEAST.replace('sources: ["10.0.0.0/8"]', f'username: crm, password: {{scrypt: "{written}"}}')
    assert settings(text).apps["crm"].password.scrypt == written


def test_without_secrets_nothing_is_looked_up():
    data = EXAMPLE.read_bytes()
    found = read_config(data, "x", base=Path("/nowhere"), environment={}, secrets=False)
    assert "crm" in found.apps


def test_no_secret_shows_in_repr_or_in_what_is_public():
    environment = {"PBX_PASSWORD": "hush-pbx", "CRM_PASSWORD": "hush-crm", "MARKETING_PASSWORD": "hush-mark"}
    found = read_config(EXAMPLE.read_bytes(), "x", base=Path("/etc/i"), environment=environment)
    assert "hush" not in repr(found)
    shown = public(found)
    assert "hush" not in json.dumps(shown)
    assert shown["apps"]["crm"]["password"] == "***"
    assert shown["admin"] == "127.0.0.1:7790"
    assert shown["defaults"]["command"] == "deny"


def test_the_query_of_an_address_may_hold_a_token_and_is_not_shown():
    shown = public(settings(LEAST.replace("/pbx", "/pbx?token=hush")))
    assert shown["apps"]["crm"]["url"] == "http://127.0.0.1:8001/pbx?***"


def test_every_problem_is_told_at_once_in_the_order_of_the_file():
    found = problems(
        LEAST.replace("country: HU", "country: hu")
        .replace("Europe/Budapest", "Europe/Budapst")
        .replace("127.0.0.1:7780", "127.0.0.1")
        .replace("10.0.0.0/8", "10.0.0.1/8")
        + "wrokers: 2\nlimits: {body: lots}\n"
    )
    assert found == [
        "1:10: unknown country `hu`, did you mean `HU`?",
        "2:12: unknown time zone `Europe/Budapst`, did you mean `Europe/Budapest`?",
        (
            "4:38: `listeners.commands.address` should be a host and a port such as `127.0.0.1:7780` or `[::1]:7780`, "
            "here is `127.0.0.1`"
        ),
        "8:19: `10.0.0.1/8` has bits set beyond its mask, did you mean `10.0.0.0/8`?",
        "9:1: unknown key `wrokers` in the configuration, did you mean `workers`?",
        "10:16: `limits.body` should be a size such as `64KiB` or `1MiB`, here is `lots`",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("country: HU\n", ""), "1:1: `country` is missing"),
        (
            ('  commands: {kind: command, address: "127.0.0.1:7780"}\n', "  {}\n"),
            "`listeners` should hold at least one entry",
        ),
        (('{endpoints: ["http://127.0.0.1:9780"]}', "{}"), "6:8: `clusters.pbx.endpoints` is missing"),
        (("http://127.0.0.1:9780", "https://127.0.0.1:9780"), "should begin with `http://`"),
        (("http://127.0.0.1:9780", "http://me:hush@127.0.0.1:9780"), "should have no user name and password"),
        (("http://127.0.0.1:9780", "http://127.0.0.1:99999"), "should be like `http://host:port/path`"),
        (("http://127.0.0.1:9780", "http://300.0.0.1:9780"), "should be like `http://host:port/path`"),
        (("http://127.0.0.1:9780", "http://h/a b"), "should be like `http://host:port/path`"),
        (("http://127.0.0.1:9780", "http://127.0.0.1:9780/api?x=1"), "should have no `?`"),
        (("kind: command,", "kind: comand,"), "did you mean `command`?"),
        (("kind: command,", "mode: tls, kind: command,"), "needs a `certificate`"),
        (("kind: command,", "certificate: x.pem, kind: command,"), "used only with mode `tls`"),
        (("kind: command,", "mode: tls, certificate: x.pem, kind: command,"), "cannot be read: no such file"),
        (('sources: ["10.0.0.0/8"]', 'sources: ["10.0.0"]'), "should be an address or a network"),
        (('sources: ["10.0.0.0/8"]', 'sources: ["10.0.0.0/8", 10.0.0.0/8]'), "stands twice"),
        (('sources: ["10.0.0.0/8"]', "username: crm"), "has a `username` but no `password`"),
        (('sources: ["10.0.0.0/8"]', "password: {env: PW}"), "has a `password` but no `username`"),
        (('sources: ["10.0.0.0/8"], url: "http://127.0.0.1:8001/pbx"', "cluster: pbx"), "can never ask"),
        (("crm:", "pbx:"), "names a cluster and an app"),
        (("crm:", '"c r m":'), "a name in `apps` is made of"),
        (("8001/pbx", "8001/pbx#top"), "should have no `#`"),
        (('/pbx"}', '/pbx", cluster: pbxx}'), "unknown cluster `pbxx`, did you mean `pbx`?"),
        (('/pbx"}', '/pbx", notifications: {IncomingCal: "http://h/"}}'), "did you mean `IncomingCall`?"),
        (('/pbx"}', '/pbx", fallback: [{Speek: {Text: x}}]}'), "did you mean `Speak`?"),
        (("time_zone", "admin: 127.0.0.1:7780\ntime_zone"), "2:8: `127.0.0.1:7780` of `admin` is taken"),
        (("127.0.0.1:7780", "0.0.0.0:7790"), "is taken by `admin`"),
        (("time_zone", "default_cluster: pbxx\ntime_zone"), "unknown cluster `pbxx`"),
        (("time_zone", "extensions: [1y]\ntime_zone"), "an extension pattern is digits and `x`"),
        (("time_zone", "workers: 0\ntime_zone"), "at least 1"),
        (("time_zone", "timeouts: {connect: -1s}\ntime_zone"), "should be a duration"),
        (("time_zone", "timeouts: {connect: 0s}\ntime_zone"), "should be more than 0"),
        (("time_zone", "timeouts: {command: {total: 1s}}\ntime_zone"), "`timeouts.command.first_byte` is missing"),
        (
            ("time_zone", "timeouts: {command: {first_byte: 2s, total: 1s}}\ntime_zone"),
            "`timeouts.command.first_byte` should not be longer",
        ),
        (("time_zone", "limits: {head: 10}\ntime_zone"), "should be from 1024"),
        (("time_zone", "defaults: {command: answer}\ntime_zone"), "known are `allow`, `deny`"),
        (("time_zone", "journal: {durability: strickt}\ntime_zone"), "did you mean `strict`?"),
        (("time_zone", "notifications: [{app: crmm}]\ntime_zone"), "unknown app `crmm`, did you mean `crm`?"),
        (("time_zone", "notifications: [{path: route, app: crm}]\ntime_zone"), "should begin with `/`"),
        (("time_zone", "notifications: [{name: IncomingCall}]\ntime_zone"), "`notifications.app` is missing"),
        (("time_zone", "notifications: [{app: crm}, {path: /a, app: crm}]\ntime_zone"), "never reached"),
        (("time_zone", "rules: state\ntime_zone"), "should be two folders"),
        (("time_zone", "pass_ambiguous: perhaps\ntime_zone"), "`true` or `false`"),
        (('9780"]', '9780"], probe: Call'), "should be a command that changes nothing"),
        (('9780"]', '9780"], probe: ListExtension'), "did you mean `ListExtensions`?"),
        (("  pbx:", '  second: {endpoints: ["http://h"]}\n  pbx:'), "`default_cluster` says which"),
    ],
)
def test_a_mistake_is_told(change, told):
    assert change[0] in LEAST
    found = problems(LEAST.replace(*change))
    assert any(told in problem for problem in found), found
    assert not any("hush" in problem for problem in found), found


def test_two_apps_with_one_user_name_are_a_problem():
    one = "{username: u, password: {env: PW}}"
    found = problems(f"{LEAST}  two: {one}\n  three: {one}\n", {"PW": "x"})
    assert found == ["10:21: the user name `u` belongs to `two` already"]


def test_two_apps_known_by_one_network_alone_are_a_problem():
    found = problems(f"{LEAST}  two: {{sources: [10.0.0.0/8]}}\n")
    assert found == ["9:18: `two` and `crm` cannot be told apart: both are known by `10.0.0.0/8` alone"]
    settings(f"{LEAST}  two: {{sources: [10.1.0.0/16]}}\n")  # the narrower one wins


def test_a_subscription_needs_an_address_to_go_to():
    apps = LEAST + "  quiet: {sources: [192.0.2.1], notifications: {IncomingSMS: 'http://h/'}}\n"
    settings(apps + "notifications: [{name: IncomingSMS, app: quiet}]\n")
    assert "has no `url`" in problems(apps + "notifications: [{app: quiet}]\n")[0]


def test_a_free_port_can_be_asked_for_and_is_chosen_once_for_several_workers():
    text = LEAST.replace("7780", "0")
    assert settings(text).listeners[0].address.port == 0
    assert settings(text + "workers: 2\n").listeners[0].address.port == 0


@pytest.mark.parametrize(
    "written", ["hush", '"hush"', "[hush]", "{env: hush-it}", "{plain: hush}", "{env: A, file: B}"]
)
def test_a_plain_password_is_a_problem_and_is_never_shown(written):
    text = LEAST.replace('sources: ["10.0.0.0/8"]', f"username: crm, password: {written}")
    found = problems(text)
    assert found
    assert "hush" not in " ".join(found)


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read: no such file"), (b"", "is empty"), (b"\xff", "not UTF-8"), (b"x" * 70_000, "is longer")],
)
def test_a_secret_file_that_cannot_be_used_is_told(tmp_path, content, told):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = LEAST.replace('sources: ["10.0.0.0/8"]', "username: crm, password: {file: secret}")
    assert told in problems(text, base=tmp_path)[0]


def test_a_secret_that_is_not_set_is_told_by_its_name():
    text = LEAST.replace('sources: ["10.0.0.0/8"]', "username: crm, password: {env: CRM_PW}")
    assert "the environment variable `CRM_PW` is not set" in problems(text)[0]
    assert "the environment variable `CRM_PW` is empty" in problems(text, {"CRM_PW": ""})[0]


def test_a_certificate_without_its_key_is_told(tmp_path):
    (tmp_path / "x.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    text = LEAST.replace("kind: command,", "mode: tls, certificate: x.pem, kind: command,")
    assert "holds no private key" in problems(text, base=tmp_path)[0]


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\xff\xfe", b"just text", b"- a\n- b\n", b"a: &b c\n", b"{"])
def test_what_is_no_configuration_is_a_problem_with_a_place(data):
    with pytest.raises(ProblemsError) as raised:
        read_config(data, "config.yaml", base=Path("/nowhere"), environment={})
    assert raised.value.problems[0].place.line >= 1


KEYS = [
    "country",
    "listeners",
    "clusters",
    "apps",
    "password",
    "env",
    "file",
    "scrypt",
    "sources",
    "url",
    "notifications",
]
TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from(["HU", "http://h", "127.0.0.1:80", "strict"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary() | TREES.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_are_settings_or_problems(data):
    _settings_or_problems(data)


@given(st.data())
def test_the_example_with_any_part_replaced_is_settings_or_problems(data):
    lines = EXAMPLE.read_text().splitlines()
    at = data.draw(st.integers(0, len(lines) - 1))
    value = data.draw(TREES.map(json.dumps) | st.text())
    head, colon, _ = lines[at].partition(":")
    lines[at] = f"{head}{colon} {value}"
    _settings_or_problems("\n".join(lines).encode("utf-8", "surrogatepass"))


def _settings_or_problems(data):
    try:
        read_config(data, "config.yaml", base=Path("/nowhere"), environment=EXAMPLE_ENVIRONMENT)
    except ProblemsError as fault:
        assert fault.problems
        assert all(problem.place.line >= 1 and problem.message and problem.code for problem in fault.problems)
