"""How calls stand, as rules see it: what messages have told, and nothing else."""

from urllib.parse import unquote_to_bytes

import pytest
from msgspec.structs import replace

from interceptor.audit.record import Recorder
from interceptor.callbacks import Keyring
from interceptor.calls import Bounds, Calls, Closing, Sighting
from interceptor.exchanges import Fault, Forward, Opened
from interceptor.identity import Identifier
from interceptor.known_calls import KnownCalls
from interceptor.loading import policy_context
from interceptor.older_rules import MOST_SETS, YOUNG_SECONDS, OlderRules
from interceptor.ownership import KEPT_SECONDS
from interceptor.pipeline import Pipeline
from interceptor.policy import RuleSet, Source, compile_policy
from interceptor.rows import Rows
from interceptor.settings import CallbackSettings, CallsRule, Ownership, Settings, Url
from interceptor.values import CallFacts, Kind, Verdict
from interceptor.wire import knowledge
from tests.pipeline.conftest import command, notification, site

ASKING = """\
rules:
  - {name: asks, on: "*", when: {call: {state: held}}, tag: held}
  - {name: rest, on: "*", allow: true}
"""
SILENT = 'rules: [{name: rest, on: "*", allow: true}]'
OK = b"<Response><Code>200</Code></Response>"
AT = 1_800_000_000.0


class Line:
    """A pipeline, and what it knows of the call ``abc``."""

    def __init__(self, rules: str = ASKING, settings: Settings | None = None) -> None:
        self.settings = settings or site()
        self.calls = KnownCalls()
        self.pipeline = Pipeline(
            self.settings,
            compile_policy([Source("test.yaml", rules.encode())], policy_context(self.settings)),
            Recorder("w0", self.settings.journal.masking),
            Identifier(self.settings.apps.values(), b"key"),
            keys=Keyring([bytes(32)]),
            holdings=None if self.settings.ownership is Ownership.OFF else self.calls.holdings,
            calls=self.calls,
        )

    def told(self, name: str, more: str = "", at: float = AT, answer: bytes = b"<Response/>") -> CallFacts | None:
        """A notification of the call comes and is answered; how the call stood for the rules."""
        body = f"NotificationName={name}&CallId=abc{more}".encode()
        opened = self.pipeline.begin(notification(body, at=at))
        self.pipeline.finish(opened, 200, answer)
        return opened.facts.call

    def asked(self, name: str, more: str = "", at: float = AT, answer: bytes = OK) -> CallFacts | None:
        """A command that names the call comes and is answered; how the call stood for the rules."""
        opened = self.begun(name, more, at)
        self.pipeline.finish(opened, 200, answer)
        return opened.facts.call

    def begun(self, name: str, more: str = "", at: float = AT) -> Opened:
        """A command that names the call, decided."""
        return self.pipeline.begin(command(f"/?command={name}&CallId=abc{more}".encode(), at=at))

    def now(self, at: float = AT) -> CallFacts | None:
        """How the call stands."""
        return self.begun("GetCallHistory", at=at).facts.call


def test_a_call_that_an_app_asked_for_is_its_own_once_it_is_connected():
    line = Line()
    assert line.asked("Hangup", answer=b"<Response><Code>601</Code></Response>") == CallFacts()
    assert line.told("CallConnected") == CallFacts(owned=False, state="connected", direction="outgoing")
    assert line.now() == CallFacts(owned=True, state="connected", direction="outgoing")
    line.asked("Hold")
    assert line.now() == CallFacts(owned=True, state="held", direction="outgoing")
    line.asked("Unhold")
    assert line.now() == CallFacts(owned=True, state="connected", direction="outgoing")
    line.asked("BlindTransfer", "&Target=1001")
    assert line.now() == CallFacts(owned=True, state="transferring", direction="outgoing")
    line.asked("Hangup")
    assert line.now() == CallFacts(owned=True, state="ended", direction="outgoing")


def test_a_call_that_came_in_rings_until_an_app_answers_it():
    line = Line()
    assert line.told("IncomingCall") == CallFacts(owned=False, state="ringing", direction="incoming")
    assert line.now() == CallFacts(owned=True, state="connected", direction="incoming")
    line.told("CallChanged", "&CallState=Completed")
    assert line.now() == CallFacts(owned=True, state="ended", direction="incoming")


@pytest.mark.parametrize(
    ("word", "state"),
    [("Ringing", "ringing"), ("InCall", "connected"), ("Hold", "held"), ("Busy", "ended"), ("Transferred", "ended")],
)
def test_the_pbxs_words_are_read(word: str, state: str):
    line = Line()
    line.told("CallChanged", f"&CallState={word}")
    assert line.now() == CallFacts(owned=True, state=state)


def test_a_command_that_the_pbx_refused_moves_nothing():
    line = Line()
    line.told("CallConnected")
    line.asked("Hold", answer=b"<Response><Code>302</Code></Response>")
    opened = line.begun("Hangup")
    line.pipeline.fail(opened, Fault.UNREACHABLE)
    assert line.now() == CallFacts(owned=True, state="connected", direction="outgoing")


def test_an_end_that_is_only_presumed_is_taken_back_and_another_is_not():
    line = Line()
    line.told("CallChanged", "&CallState=Transferred")
    line.told("CallChanged", "&CallState=InCall")
    assert line.now() == CallFacts(owned=True, state="connected")
    line.told("CallChanged", "&CallState=Completed")
    line.told("CallChanged", "&CallState=InCall")
    assert line.now() == CallFacts(owned=True, state="ended")


def test_an_id_that_rings_again_long_after_its_end_is_another_call():
    line = Line()
    line.told("CallConnected")
    line.told("CallChanged", "&CallState=Completed")
    line.told("CallChanged", "&CallState=Ringing", at=AT + 5)
    assert line.now(AT + 5) == CallFacts(owned=True, state="ended", direction="outgoing")
    line.told("CallChanged", "&CallState=Ringing", at=AT + 90)
    assert line.now(AT + 90) == CallFacts(owned=True, state="ringing")


def test_what_is_old_is_forgotten():
    line = Line()
    line.told("CallConnected")
    assert line.now(AT + KEPT_SECONDS + 2) == CallFacts()


def test_a_message_without_a_call_has_none_and_rules_that_do_not_ask_are_not_told():
    line = Line()
    assert line.pipeline.begin(command(b"/?command=Call&Dialed=1001")).facts.call is None
    silent = Line(SILENT)
    assert silent.told("CallConnected") is None
    assert silent.now() is None
    known = silent.calls.find(None, {"callid": "abc"}, "crm", AT)
    assert known == CallFacts(owned=True, state="connected", direction="outgoing")


def test_of_two_calls_both_must_be_the_apps_own_and_the_transferred_one_is_looked_at():
    line = Line()
    line.told("CallConnected")
    line.told("CallChanged", "&CallState=Hold")
    first = line.pipeline.begin(command(b"/?command=AttendedTransfer&TargetCallId=xyz&TransferredCallId=abc"))
    assert first.facts.call == CallFacts(owned=False, state="held", direction="outgoing")
    line.pipeline.begin(notification(b"NotificationName=IncomingCall&CallId=xyz"))
    both = line.pipeline.begin(command(b"/?command=AttendedTransfer&TargetCallId=xyz&TransferredCallId=abc"))
    assert both.facts.call == CallFacts(owned=True, state="held", direction="outgoing")


def test_a_verb_without_an_id_is_about_the_call_that_is_answered():
    rules = """\
rules:
  - {name: incoming-only, on: "verb:BlindTransfer", when: {call: {not: {direction: incoming}}}, deny: true}
  - {name: rest, on: "*", allow: true}
"""
    answer = b'<Response><BlindTransfer Target="1001"/></Response>'
    verdicts = []
    for name in ("IncomingCall", "CallConnected"):
        line = Line(rules)
        opened = line.pipeline.begin(notification(f"NotificationName={name}&CallId=abc".encode()))
        judged = line.pipeline.finish(opened, 200, answer).judged
        assert judged is not None
        verdicts.append(judged.refused)
        named = b'<Response><BlindTransfer CallId="other" Target="1001"/></Response>'
        judged = line.pipeline.finish(opened, 200, named).judged
        assert judged is not None
        assert judged.refused == 1  # of that call nobody has told
    assert verdicts == [0, 1]


def test_a_forged_callback_tells_nothing_of_a_call():
    line = Line(settings=replace(site(), callbacks=CallbackSettings(public_url=Url("proxy.test", 7781, ""))))
    opened = line.pipeline.begin(notification(b"NotificationName=CallConnected&CallId=abc", target=b"/cb/rubbish"))
    assert opened.decision.reason == "callback_forged"
    assert line.now() == CallFacts()


def test_what_records_tell_is_taken_over_where_nothing_newer_is_known():
    record = Calls(Bounds())
    for number, (name, state, call_id) in enumerate(
        (("IncomingCall", "", "abc"), ("CallChanged", "Hold", "abc"), ("CallConnected", "", "xyz"))
    ):
        record.see(
            Sighting(f"e{number}", AT + number, Kind.NOTIFICATION, name, app="crm", call_id=call_id, state=state)
        )
        record.close(Closing(f"e{number}", AT + number, "answered"))
    known = KnownCalls()
    message = knowledge.notification("CallChanged")
    known.told(message, {"callid": "xyz", "callstate": "Completed"}, AT + 100, "0123456789ab")
    for call in (*record.open, *record.recent):
        known.take_over(call, "0123456789ab")
    assert known.in_progress("0123456789ab", AT)
    assert known.revision(message, {"callid": "abc"}, AT) == "0123456789ab"
    assert known.revision(message, {"callid": "xyz"}, AT) == ""
    found = {call: known.find(message, {"callid": call}, "crm", AT + 100) for call in ("abc", "xyz", "none")}
    assert found == {
        "abc": CallFacts(owned=True, state="held", direction="incoming"),
        "xyz": CallFacts(owned=True, state="ended"),
        "none": CallFacts(),
    }


def test_rows_keep_a_number_with_a_time_and_stay_within_their_memory():
    rows = Rows(bytearray(28 * 16))
    rows.put("a", 1e12, 7)  # a time that no row can hold
    rows.change("a", 5.0, lambda was: None)
    assert rows.find("a") == (0xFFFF_FFFF, 7)
    rows.change("b", -1.0, lambda was: 3 if was is None else 4)
    assert rows.find("b") == (0, 3)
    assert rows.find("c") is None


def test_a_number_is_found_by_its_beginning_and_old_ones_lose_it():
    rows = Rows(bytearray(28 * 64))
    mine = int.from_bytes(b"abcdef", "little")
    for number in range(10):
        rows.put(f"key {number}", 100.0, 7 << 48)
    assert not rows.latest(b"abcdef", 0.0, 0xFF)
    rows.put("old", 50.0, mine | 3 << 48)
    assert rows.latest(b"abcdef", 50.0, (1 << 48) - 1)
    assert not rows.latest(b"abcdef", 51.0, (1 << 48) - 1)
    assert rows.find("old") == (50, 3 << 48)
    assert not rows.latest(b"abcdef", 0.0, 0xFF)


# the rules that a call began with


FREEZE = """\
rules:
  - {name: frozen, on: "*", when: {app: crm}, deny: {code: 306, message: Frozen}}
  - {name: rest, on: "*", allow: true}
"""


def rules_of(text: str, settings: Settings) -> RuleSet:
    return compile_policy([Source("test.yaml", text.encode())], policy_context(settings))


def verdict(line: Line, name: str, call: str = "abc", at: float = AT) -> str:
    """What becomes of a command that names a call."""
    arrival = command(f"/?command={name}&CallId={call}".encode(), at=at)
    return line.pipeline.begin(arrival).decision.verdict.value


def test_a_call_in_progress_keeps_the_rules_it_began_with_until_its_end():
    line = Line(SILENT)
    line.told("CallConnected")
    line.pipeline.adopt(rules_of(FREEZE, line.settings), AT)
    assert [verdict(line, "Hold"), verdict(line, "Hold", "other"), verdict(line, "ListActiveCalls", "")] == [
        "allow",
        "deny",
        "deny",
    ]
    opened = line.pipeline.begin(notification(b"NotificationName=CallChanged&CallId=abc&CallState=Hold"))
    assert (opened.decision.verdict.value, opened.decision.rule) == ("allow", "rest")
    judged = line.pipeline.finish(opened, 200, b'<Response><BlindTransfer Target="1001"/></Response>').judged
    assert judged is not None
    assert judged.refused == 0
    over = line.pipeline.begin(notification(b"NotificationName=CallChanged&CallId=abc&CallState=Completed"))
    assert over.decision.verdict is Verdict.ALLOW  # that it ends is still told to its app
    assert verdict(line, "Hold") == "deny"


def test_a_call_that_begins_after_the_change_is_decided_by_the_new_rules():
    line = Line(SILENT)
    line.pipeline.adopt(rules_of(FREEZE, line.settings), AT)
    opened = line.pipeline.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    assert opened.decision.rule == "frozen"


def test_config_can_have_all_calls_change():
    settings = site()
    line = Line(SILENT, replace(settings, policy=replace(settings.policy, calls=CallsRule.CHANGE)))
    line.told("CallConnected")
    line.pipeline.adopt(rules_of(FREEZE, line.settings), AT)
    assert verdict(line, "Hold") == "deny"
    assert len(line.pipeline.older) == 0


def test_older_rules_are_let_go_when_no_call_goes_on_that_began_with_them():
    line = Line(SILENT)
    line.told("CallConnected")
    line.pipeline.adopt(rules_of(FREEZE, line.settings), AT)
    line.pipeline.let_go(AT + YOUNG_SECONDS + 1)
    assert [len(line.pipeline.older), verdict(line, "Hold")] == [1, "allow"]
    line.told("CallChanged", "&CallState=Completed", at=AT + 5)
    line.pipeline.let_go(AT + YOUNG_SECONDS)
    assert len(line.pipeline.older) == 1  # a call may just have been asked for
    line.pipeline.let_go(AT + YOUNG_SECONDS + 1)
    assert len(line.pipeline.older) == 0


def test_older_rules_do_not_wait_for_ever_for_the_end_of_a_call_of_which_nothing_is_heard():
    line = Line(SILENT)
    line.told("CallConnected")
    line.pipeline.adopt(rules_of(FREEZE, line.settings), AT)
    line.pipeline.let_go(AT + line.settings.calls.idle)
    assert len(line.pipeline.older) == 1
    line.pipeline.let_go(AT + line.settings.calls.idle + 1)
    assert [len(line.pipeline.older), verdict(line, "Hold")] == [0, "deny"]


def test_so_many_older_sets_are_kept_and_a_rollback_takes_its_own_back():
    line = Line(SILENT)
    line.told("CallConnected")
    first = line.pipeline.rules
    sets = [rules_of(FREEZE.replace("Frozen", f"Frozen {number}"), line.settings) for number in range(MOST_SETS + 1)]
    for number, rules in enumerate(sets[:MOST_SETS]):
        line.pipeline.adopt(rules, AT + number)
    assert [len(line.pipeline.older), verdict(line, "Hold")] == [MOST_SETS, "allow"]
    line.pipeline.adopt(sets[-1], AT)
    assert [len(line.pipeline.older), verdict(line, "Hold")] == [MOST_SETS, "deny"]
    line.pipeline.adopt(first, AT)
    assert [line.pipeline.older.find(first.revision), verdict(line, "Hold")] == [None, "allow"]


def test_a_large_older_set_is_kept_alone():
    older, settings = OlderRules(most_rules=100), site()
    many = "rules:\n" + "".join(f"  - {{name: r{number}, on: Call, deny: true}}\n" for number in range(60))
    sets = [rules_of(f"{many}  - {{name: s{number}, on: Call, deny: true}}\n", settings) for number in range(3)]
    older.keep(sets[0], sets[1], AT)
    older.keep(sets[1], sets[2], AT)
    assert [older.find(each.revision) for each in sets] == [None, sets[1], None]


def test_a_callback_keeps_the_rules_under_which_it_was_captured():
    settings = replace(site(), callbacks=CallbackSettings(public_url=Url("proxy.test", 7781, "")))
    line = Line(SILENT, settings)
    opened = line.pipeline.begin(command(b"/?command=Call&Dialed=1001&Url=http://crm.test:8001/connected"))
    assert isinstance(opened.plan, Forward)
    path = opened.plan.path.partition(b"proxy.test%3a7781")[2] or opened.plan.path.partition(b"proxy.test%3A7781")[2]
    path = unquote_to_bytes(path.partition(b"&")[0])
    assert path.startswith(b"/cb/")
    line.pipeline.adopt(rules_of(FREEZE, settings), AT)
    connected = line.pipeline.begin(notification(b"NotificationName=CallConnected&CallId=abc", target=path))
    assert connected.decision.rule == "rest"
    assert verdict(line, "Hold") == "allow"  # and so does the call that came out of it
