"""For any bytes: a plan, never an exception; nothing denied is forwarded; what no rule touches is untouched."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interceptor.exchanges import Answer, Fault, Forward
from interceptor.settings import Credentials, Secret
from interceptor.values import Verdict
from interceptor.wire import knowledge
from interceptor.wire.answers import read_answer
from interceptor.wire.parameters import decode
from tests.pipeline.conftest import FORM, command, make, notification, site

OPEN = make(site())
RULES = """
rules:
  - {name: no-premium, on: [Call, SendSms], when: {number: {class: [premium, satellite]}}, deny: {code: 306}}
  - {name: shown, on: command, when: {Dialed: {prefix: "1"}}, rewrite: {set: {CallerId: "+3612222222"}, remove: X}}
  - {name: other, on: [Call, IncomingCall], when: {Dialed: {regex: "^2"}}, rewrite: {rename: {Url: ErrorUrl}}}
  - {name: away, on: IncomingCall, reroute: {app: board}}
  - {name: some, on: command, when: {not: {Dialed: {prefix: "9"}}}, allow: true}
"""
STRICT = make(site(), RULES)
CLUSTERS = site().clusters
SECURED = {**CLUSTERS, "pbx": replace(CLUSTERS["pbx"], credentials=Credentials("us", Secret("ours")))}
WITH_CREDENTIALS = make(site(clusters=SECURED, pass_ambiguous=True))
PASSING = make(site(pass_ambiguous=True), RULES)

names = st.sampled_from([*knowledge.PARAMETER_NAMES, "X", "x", "Dialed%00", "%43ommand", "+Dialed", ""]).map(str.encode)
words = st.sampled_from([*knowledge.COMMANDS, *knowledge.NOTIFICATIONS, "hangup", "Call%00", "Call+"]).map(str.encode)
values = st.one_of(words, st.binary(max_size=12), st.from_regex(rb"(%2b|\+|00)?[0-9]{1,12}", fullmatch=True))
pairs = st.builds(lambda name, value: name + b"=" + value, names, values)
message = st.builds(
    lambda head, rest: b"&".join((head, *rest)),
    st.builds(lambda name, value: name + b"=" + value, st.sampled_from([b"command", b"NotificationName"]), words),
    st.lists(st.one_of(pairs, st.binary(max_size=8)), max_size=5),
)
texts = st.one_of(message, st.binary(max_size=60))
targets = st.one_of(texts.map(lambda text: b"/?" + text), st.binary(max_size=60), st.just(b"/"))
headers = st.sampled_from([FORM, {}, {"content-type": "text/plain"}, {**FORM, "content-encoding": "gzip"}])
arrivals = st.builds(
    lambda make_one, target, body, head, source: make_one(target, body, head, source),
    st.sampled_from(
        [
            lambda target, body, head, source: command(target, body, headers=head, source=source),
            lambda target, body, head, source: notification(body, target, headers=head, source=source),
        ]
    ),
    targets,
    texts,
    headers,
    st.sampled_from(["127.0.0.1", "::1", "::ffff:127.0.0.1", "203.0.113.9", ""]),
)


@given(arrivals)
def test_any_bytes_have_a_plan_and_only_what_is_allowed_is_forwarded(arrival) -> None:
    for pipeline in (OPEN, STRICT, PASSING):
        opened = pipeline.begin(arrival)
        allowed = opened.decision.verdict is Verdict.ALLOW
        assert isinstance(opened.plan, Forward if allowed else Answer)
        assert opened.record.verdict is opened.decision.verdict


@given(arrivals)
def test_what_no_rule_touches_is_forwarded_byte_for_byte(arrival) -> None:
    plan = OPEN.begin(arrival).plan
    if isinstance(plan, Forward) and arrival.kind.value == "command":
        assert (plan.path, plan.body) == (arrival.target, None)
    elif isinstance(plan, Forward):
        assert plan.body is None


@given(arrivals, st.sampled_from(Fault), st.booleans())
def test_any_message_settles_with_an_answer_however_it_fails(arrival, fault, sent) -> None:
    settled = STRICT.fail(STRICT.begin(arrival), fault, sent=sent)
    assert settled.answer is not None
    assert read_answer(settled.answer.body).well_formed


@given(arrivals, st.integers(100, 599), st.binary(max_size=60))
def test_any_reply_settles(arrival, status, body) -> None:
    settled = STRICT.finish(STRICT.begin(arrival), status, body)
    assert settled.answer is None or read_answer(settled.answer.body).well_formed


@given(arrivals)
def test_a_message_that_could_not_be_decided_never_leaves_and_has_an_answer(arrival) -> None:
    opened = STRICT.broken(arrival)
    assert isinstance(opened.plan, Answer)
    assert opened.decision.verdict is Verdict.DENY
    assert STRICT.settle_answer(opened, opened.plan).answer is not None
    assert STRICT.addresses.kept(opened) == "" or STRICT.addresses.kept(opened).startswith("http://")


@given(message)
def test_with_the_clusters_credentials_no_other_user_name_or_password_leaves(query) -> None:
    plan = WITH_CREDENTIALS.begin(command(b"/?" + query)).plan
    if isinstance(plan, Forward):
        items = decode(plan.path.partition(b"?")[2]).items
        sent = [value for name, value, _ in items if knowledge.lower(name) in {"username", "password"}]
        assert sorted(sent) == ["ours", "us"]
