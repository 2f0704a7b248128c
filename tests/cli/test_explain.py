"""`interceptor explain` through its door: messages that are described, addresses, and exchanges that were."""

import asyncio
import json
import re

import pytest

from interceptor.cli.stage import Stage, settle
from interceptor.simulator.clock import VirtualClock

RULES = """\
rules:
  - name: emergency
    on: "*"
    when: {number: {class: emergency}}
    allow: true
  - name: nights
    on: Call
    when: {time: {not: {hours: "08:00-18:00"}}, header: {X-Tenant: a}}
    deny: {code: 306, message: "Not at {{CallerId}}"}
  - name: shown
    on: command:Call
    when: {app: crm}
    rewrite: {set: {CallerId: "+3612222222"}}
  - name: seldom
    on: Call
    limit: {rate: 1/m}
  - name: calls
    on: Call
    when: {number: {not: "+36901234567"}}
    allow: true
"""


@pytest.fixture
def site(place):
    """The small site with rules of its own."""
    config = (place / "config.yaml").read_text()
    (place / "config.yaml").write_text(
        config.replace('"10.0.0.0/8"', '"10.0.0.0/8", "127.0.0.1"').replace(
            "clusters:", '  notifications: {kind: notification, address: "127.0.0.1:0"}\nclusters:'
        )
        + "journal: {masking: {numbers: 4}}\nadmin: 127.0.0.1:1\n"
    )
    for file in (place / "rules").iterdir():
        file.unlink()
    (place / "rules" / "all.yaml").write_text(RULES)
    return place


CALL = ("explain", "--command", "Call", "--app", "crm", "--at", "2026-11-23T19:00")


def revision(text):
    return re.sub(r"revision [0-9a-f]{12}", "revision R", text)


def test_a_message_is_told_rule_by_rule(command, site):
    done = command(*CALL, "Dialed=06 20 123 4567", "CallerId=1001", "Password=hunter2", cwd=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert revision(done.stdout).splitlines() == [
        "Call (command) by crm, from 10.0.0.1, Monday 2026-11-23 19:00:00 Europe/Budapest",
        "  number    +36201234567 (mobile)",
        "  caller    1001",
        "  dialed = 06 20 123 4567",
        "  callerid = 1001",
        "  password = ***",
        "",
        "rules, in the order of reading (revision R):",
        "  ✗ emergency  did not match  all.yaml:2".replace("all.yaml", "rules/all.yaml"),
        "      expected number class emergency",
        "      is       +36201234567 (mobile)",
        "  ✗ nights  did not match  rules/all.yaml:6",
        "      expected header X-Tenant `a`",
        "      is       no header X-Tenant",
        "  ✓ shown  acted: rewrite  rules/all.yaml:10",
        "  ✓ seldom  acted: limit  rules/all.yaml:14",
        "  ✓ calls  acted: allow  rules/all.yaml:17",
        "",
        "allowed by calls",
        "  goes to   pbx",
        "  CallerId: `1001` → `+3612222222`",
        "note: limits are not counted here: this is told as the first message in a long time",
    ]


def test_what_ends_the_reading_leaves_the_rest_unreached(command, site):
    done = command(*CALL, "-H", "X-Tenant: a", "Dialed=1001", "CallerId=1002", cwd=site)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-6:] == [
        "  · shown  not reached  rules/all.yaml:10",
        "  · seldom  not reached  rules/all.yaml:14",
        "  · calls  not reached  rules/all.yaml:17",
        "",
        "denied by nights",
        "  is told   306 Not at 1002",
    ]


def test_json_has_the_record_and_the_trace(command, site):
    done = command(*CALL, "Dialed=112", "--format", "json", cwd=site)
    found = json.loads(done.stdout)
    assert found["record"]["number"] == "112"
    assert found["trace"]["verdict"] == "allow"
    standings = [(step["name"], step["standing"]) for step in found["trace"]["steps"]]
    assert standings[:2] == [("emergency", "acted"), ("nights", "not_reached")]


def test_a_verb_and_a_notification_can_be_asked_for(command, site):
    done = command("explain", "--verb", "Speak", "--app", "crm", "text=hello", "--all", cwd=site)
    assert done.stdout.splitlines()[-2:] == ["", "denied by the default, taken out of the answer"]
    assert "  · shown  is for other messages  rules/all.yaml:10" in done.stdout.splitlines()
    assert "      expected command Call" in done.stdout.splitlines()
    done = command("explain", "--notification", "CallChanged", "CallId=7", "--path", "/x", cwd=site)
    assert "CallChanged (notification) to no app that we know" in done.stdout
    assert done.stdout.splitlines()[-1] == "allowed by the default"


def test_an_address_goes_the_way_of_a_request(command, site):
    address = "http://127.0.0.1:7780/?command=Call&Dialed=112&Dialed=113"
    done = command("explain", address, "--source", "10.0.0.1", cwd=site)
    assert done.returncode == 0
    assert "  none was asked: ambiguous" in done.stdout.splitlines()
    assert "denied by ambiguous" in done.stdout
    done = command("explain", "/?command=Call", "-d", "Dialed=112&CallerId=%2b361", "--app", "crm", cwd=site)
    assert "allowed by emergency" in done.stdout
    done = command("explain", "http://h?NotificationName=CallChanged&CallId=7", cwd=site)
    assert "CallChanged (notification)" in done.stdout
    done = command("explain", "http://127.0.0.1:7780/?command=Call", "--source", "192.0.2.1", cwd=site)
    assert "none was asked: address forbidden" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "name a message (--command, --notification, --verb), an exchange or an address; see --help"),
        (("--command", "Call", "--verb", "Call"), "--command and --verb: one message at a time"),
        (("--command", "Call", "Dialed"), "a parameter is written NAME=VALUE, here is `Dialed`"),
        (("--command", "Call", "--app", "crn"), "unknown app `crn`, did you mean `crm`?"),
        (("--command", "Call", "--at", "noon"), "--at should be a time such as 2026-11-23T19:00, here is `noon`"),
        (
            ("--command", "Hold", "--call", "mine,held"),
            "--call should be such as owned,connected,outgoing, here is `mine,held`",
        ),
        (("--command", "Call", "-H", "X"), "a header is written 'Name: value', here is `X`"),
        (("w0-1", "w0-2"), "name a message (--command, --notification, --verb), an exchange or an address; see --help"),
        (("w0-1",), "no exchange `w0-1`: the running server has not kept it, and it is not in `state/journal`"),
    ],
)
def test_what_cannot_be_read_exits_with_2(command, site, arguments, told):
    (site / "state" / "journal").mkdir(parents=True)
    done = command("explain", *arguments, cwd=site)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{told}\n"


def test_how_a_call_stands_can_be_said(command, site):
    rule = "rules: [{name: held, on: command:Hold, when: {call: {owned: true, state: connected}}, allow: true}]"
    (site / "rules" / "zz.yaml").write_text(rule)
    hold = ("explain", "--command", "Hold", "--app", "crm", "CallId=7")
    done = command(*hold, "--call", "owned,connected", cwd=site)
    assert "✓ held  acted: allow" in done.stdout
    done = command(*hold, "--call", "ringing,incoming", cwd=site)
    assert "is       a call that is not the app's own, ringing, incoming" in done.stdout
    done = command(*hold, cwd=site)
    assert "is       a call that is not the app's own, state not known, direction not known" in done.stdout


def test_a_name_that_the_reference_does_not_list_is_told_and_goes_on(command, site):
    done = command("explain", "--command", "Cal", "--app", "crm", cwd=site)
    assert (done.returncode, done.stderr) == (
        0,
        "the reference does not list the command `Cal`, did you mean `Call`?\n",
    )


def test_problems_of_the_rules_exit_with_1(command, site):
    (site / "rules" / "bad.yaml").write_text("rules: [{name: x, on: Cal, allow: true}]")
    done = command(*CALL, cwd=site)
    assert done.returncode == 1
    assert done.stdout.startswith("rules/bad.yaml:1:23: unknown name `Cal`")


def test_an_exchange_is_told_by_the_running_server_and_then_by_the_journal(command, site):
    """The same exchange, with what the server kept and with what the journal holds."""

    async def live():
        async with Stage(site / "config.yaml", None, clock=VirtualClock()) as stage:
            app = stage.apps["crm"]
            await app.command("Call", Dialed="+36901234567", CallerId="1001", Password="hunter2")
            await settle()
            exchange = stage.kept()[0].record.exchange
            config = (site / "config.yaml").read_text()
            admin = stage.addresses["admin"]
            journal = stage.settings.journal.directory
            (site / "config.yaml").write_text(
                config.replace("127.0.0.1:1\n", f"{admin}\n").replace(
                    "journal: {", f"journal: {{directory: {journal}, "
                )
            )
            told = await asyncio.to_thread(command, "explain", exchange, cwd=site)
            (site / "config.yaml").write_text((site / "config.yaml").read_text().replace(str(admin), "127.0.0.1:1"))
            stored = await asyncio.to_thread(command, "explain", exchange, cwd=site)
            (site / "rules" / "all.yaml").write_text(RULES.replace("rate: 1/m", "rate: 2/m"))
            later = await asyncio.to_thread(command, "explain", exchange, cwd=site)
            return exchange, told, stored, later

    exchange, told, stored, later = asyncio.run(live())
    assert [done.returncode for done in (told, stored, later)] == [0, 0, 0], told.stderr + stored.stderr + later.stderr
    for done in (told, stored, later):
        assert f"  exchange  {exchange}" in done.stdout
        assert "  number    *******4567 (premium)" in done.stdout
        assert "denied by the default" in done.stdout
        assert "is told   306 Not allowed by any rule" in done.stdout
        assert "hunter2" not in done.stdout
    assert "36901234567" not in told.stdout
    assert "      expected not number *******4567" in told.stdout
    assert "  ✗ calls  did not match  rules/all.yaml:17" in stored.stdout
    assert "      is       masked" in stored.stdout
    assert "note: masked in the journal: dialed, callerid, password" in stored.stdout
    assert "  ? calls  cannot be told  rules/all.yaml:17" in later.stdout
    assert re.search("note: decided by revision [0-9a-f]{12}; the rules told here are those of", later.stdout)
