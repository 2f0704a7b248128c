import re
import timeit
from pathlib import Path

import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from interceptor.exchanges import Fault
from interceptor.metrics import (
    FAMILIES,
    Gatherer,
    Metrics,
    Snapshot,
    Type,
    exposition,
    families,
    merge,
    policy_snapshot,
)
from interceptor.values import Kind

ROOT = Path(__file__).parents[2]


def named(*names):
    return {f"rules/a.yaml:{line} {name}": name for line, name in enumerate(names, 2)}


def metrics(worker="w1", started=1000.0):
    made = Metrics(
        worker,
        commands=["Call", "Hangup"],
        notifications=["IncomingCall"],
        codes=[200, 306, 901],
        clock=lambda: started,
    )
    made.policy_loaded("abc123", named("day", "night"), 1_700_000_000.0)
    return made


def samples(snapshot):
    """Every sample of the exposition, as `name{label="value"}` with its number."""
    text, _ = exposition(snapshot)
    found = {}
    for family in read_text(text.decode()):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_a_command_is_counted_by_name_and_code_and_its_decision_by_verdict_and_rule():
    made = metrics()
    for _ in range(3):
        made.command_settled("Call", 200, "day", "allow", 0.002, 0.00004)
    made.command_settled("Hangup", None, "", "deny", 0.0, 0.00004)
    found = samples(made.snapshot())
    assert found['interceptor_commands_total{code="200",command="Call"}'] == 3
    assert found['interceptor_commands_total{code="none",command="Hangup"}'] == 1
    assert found['interceptor_decisions_total{kind="command",rule="day",verdict="allow"}'] == 3
    assert found['interceptor_decisions_total{kind="command",rule="none",verdict="deny"}'] == 1


def test_a_notification_is_counted_by_name_and_outcome():
    made = metrics()
    made.notification_settled("IncomingCall", "fallback", "night", "allow", 4.0, 0.001)
    found = samples(made.snapshot())
    assert found['interceptor_notifications_total{notification="IncomingCall",outcome="fallback"}'] == 1
    assert found['interceptor_decisions_total{kind="notification",rule="night",verdict="allow"}'] == 1


def test_a_message_on_which_the_policy_was_not_asked_counts_no_decision():
    made = metrics()
    made.command_settled("Call", 306, "", "", 0.0, 0.00001)
    assert not [name for name in samples(made.snapshot()) if name.startswith("interceptor_decisions_total{")]


def test_what_is_not_in_a_closed_set_is_counted_as_other():
    made = metrics()
    made.command_settled("+36201234567", 77777, "removed-rule", "perhaps", 0.0, 0.0)
    made.notification_settled("Invented", "invented", "invented", "allow", 0.0, 0.0)
    made.refused("invented")
    made.limit_hit("invented")
    made.retried("invented")
    made.rules_acted(("a.yaml:1 invented",), ("invented",), 1.0)
    made.near_misses(["invented"])
    made.verb_decided("deny", "invented")
    made.endpoint_failed("pbx-main", "127.0.0.1:9780", "invented")
    made.journal_failed("invented")
    made.outbox_dropped("crm", "invented")
    text = exposition(made.snapshot())[0].decode()
    for invented in ("invented", "+3620", "77777", "removed-rule", "perhaps"):
        assert invented not in text.lower().replace("invented ", "")
    found = samples(made.snapshot())
    assert found['interceptor_commands_total{code="_other",command="_other"}'] == 1
    assert found['interceptor_refusals_total{reason="_other"}'] == 1


def test_a_flood_of_invented_names_does_not_grow_the_tables():
    made = metrics()
    for number in range(families_cells() + 10):
        made.command_settled(f"x{number}", number, f"r{number}", "allow", 0.0, 0.0)
    assert len(made._command_cells) <= families_cells()
    found = samples(made.snapshot())
    total = sum(value for name, value in found.items() if name.startswith("interceptor_commands_total"))
    assert total == families_cells() + 10
    assert len([name for name in found if name.startswith("interceptor_commands_total")]) < 10


def test_an_invented_name_is_not_kept_in_memory():
    made = metrics()
    for _ in range(3):
        made.command_settled("x" * 100_000, 200, "", "allow", 0.0, 0.0)
        made.notification_settled("x" * 100_000, "answered", "", "allow", 0.0, 0.0)
    assert list(made._command_cells) == [("_other", 200, "", "allow")]
    assert list(made._notification_cells) == [("_other", "answered", "", "allow")]
    assert samples(made.snapshot())['interceptor_commands_total{code="200",command="_other"}'] == 3


def families_cells():
    from interceptor.metrics import metrics as module

    return module.CELLS


def test_an_observation_falls_into_the_bucket_whose_bound_it_does_not_exceed():
    made = metrics()
    for seconds in (0.0005, 0.0006, 100.0):
        made.command_settled("Call", 200, "day", "allow", seconds, 0.00004)
    found = samples(made.snapshot())
    bucket = 'interceptor_upstream_duration_seconds_bucket{{kind="command",le="{}"}}'.format
    assert found[bucket("0.0005")] == 1
    assert found[bucket("0.001")] == 2
    assert found[bucket("30.0")] == 2
    assert found[bucket("+Inf")] == 3
    assert found['interceptor_upstream_duration_seconds_count{kind="command"}'] == 3
    assert found['interceptor_upstream_duration_seconds_sum{kind="command"}'] == pytest.approx(100.0011)


def test_an_exchange_that_asked_no_upstream_has_no_upstream_time():
    made = metrics()
    made.command_settled("Call", 306, "", "deny", 0.0, 0.00004)
    found = samples(made.snapshot())
    assert found['interceptor_upstream_duration_seconds_count{kind="command"}'] == 0
    assert found['interceptor_own_duration_seconds_count{kind="command"}'] == 1


def test_connections_are_a_gauge_and_two_counters():
    made = metrics()
    made.connection_opened("commands")
    made.connection_opened("commands")
    made.connection_closed("commands")
    made.connection_refused("commands")
    found = samples(made.snapshot())
    assert found['interceptor_connections{listener="commands"}'] == 1
    assert found['interceptor_connections_accepted_total{listener="commands"}'] == 2
    assert found['interceptor_connections_refused_total{listener="commands"}'] == 1


def test_a_refusal_for_a_cap_counts_the_cap_too():
    made = metrics()
    made.refused("body_too_large")
    made.refused("ambiguous")
    made.ambiguous_passed()
    found = samples(made.snapshot())
    assert found['interceptor_limit_hits_total{limit="body"}'] == 1
    assert found['interceptor_ambiguous_messages_total{treatment="refused"}'] == 1
    assert found['interceptor_ambiguous_messages_total{treatment="passed"}'] == 1


def policy(**changes):
    numbers = {"last_at": 7.0, "last_seconds": 1.5, "last_good": True, "matches_files": True, "kept": True} | changes
    return policy_snapshot(1.0, {("file", "loaded"): 2, ("request", "refused"): 1}, **numbers)


def test_the_policy_in_force_is_named_and_a_failed_reload_is_seen():
    made = metrics()
    made.policy_loaded("def456", named("day"), 1_700_000_100.0)
    found = samples(merge((made.snapshot(), policy(last_good=False, matches_files=False))))
    assert found['interceptor_policy_info{revision="def456"}'] == 1
    assert 'interceptor_policy_info{revision="abc123"}' not in found
    assert found["interceptor_policy_rules{}"] == 1
    assert found["interceptor_policy_loaded_timestamp_seconds{}"] == 1_700_000_100.0
    assert found["interceptor_policy_last_reload_successful{}"] == 0
    assert found["interceptor_policy_matches_files{}"] == 0
    assert found["interceptor_policy_kept{}"] == 1
    assert found["interceptor_policy_last_reload_duration_seconds{}"] == 1.5
    assert found['interceptor_policy_reloads_total{by="file",outcome="loaded"}'] == 2
    assert found['interceptor_policy_reloads_total{by="request",outcome="refused"}'] == 1


def test_every_rule_that_acts_is_counted_with_its_last_hit_also_where_it_ended_nothing():
    made = metrics()
    made.rules_acted(("rules/a.yaml:2 day", "rules/a.yaml:3 night"), (), 50.0)
    made.rules_acted(("rules/a.yaml:2 day",), ("rules/a.yaml:3 night",), 70.0)
    made.rules_acted(("rules/a.yaml:2 day",), (), 60.0)
    found = samples(made.snapshot())
    assert found['interceptor_rule_hits_total{rule="day"}'] == 3
    assert found['interceptor_rule_hits_total{rule="night"}'] == 1
    assert found['interceptor_shadow_matches_total{rule="night"}'] == 1
    assert found['interceptor_rule_last_hit_timestamp_seconds{rule="day"}'] == 70
    assert found['interceptor_rule_last_hit_timestamp_seconds{rule="night"}'] == 70


def test_names_with_blanks_are_counted_whole_and_labels_of_the_policy_before_are_understood():
    made = metrics()
    made.policy_loaded("one", {"my rules.yaml:2 no premium calls": "no premium calls"}, 1.0)
    made.policy_loaded("two", {"my rules.yaml:9 no premium calls": "no premium calls"}, 2.0)
    made.rules_acted(("my rules.yaml:2 no premium calls",), (), 3.0)  # decided before, settled after
    made.rules_acted(("my rules.yaml:9 no premium calls",), (), 4.0)
    assert samples(made.snapshot())['interceptor_rule_hits_total{rule="no premium calls"}'] == 2


def test_names_of_rules_that_are_gone_make_room_for_those_of_new_ones(monkeypatch):
    monkeypatch.setattr("interceptor.metrics.metrics.RULES", 3)
    made = metrics()
    made.rules_acted(("rules/a.yaml:3 night",), (), 3.0)
    made.command_settled("Call", 200, "night", "deny", 0.0, 0.0)
    made.policy_loaded("two", named("day", "noon", "dusk"), 2.0)
    made.rules_acted(("rules/a.yaml:4 dusk",), (), 4.0)
    found = samples(made.snapshot())
    assert found['interceptor_rule_hits_total{rule="dusk"}'] == 1
    assert found['interceptor_rule_hits_total{rule="_other"}'] == 1
    assert found['interceptor_decisions_total{kind="command",rule="_other",verdict="deny"}'] == 1
    assert not any("night" in name for name in found)


def test_combinations_of_rules_are_folded_when_there_are_many(monkeypatch):
    monkeypatch.setattr("interceptor.metrics.metrics.CELLS", 2)
    made = metrics()
    for times in range(3):
        for rules in (("rules/a.yaml:2 day",), ("rules/a.yaml:3 night",), ("rules/a.yaml:2 day", "x")):
            made.rules_acted(rules, (), float(times))
    found = samples(made.snapshot())
    assert found['interceptor_rule_hits_total{rule="day"}'] == 6
    assert found['interceptor_rule_hits_total{rule="night"}'] == 3


def test_what_a_rule_has_counted_stays_when_a_reload_takes_the_rule_away():
    made = metrics()
    made.command_settled("Call", 200, "night", "allow", 0.0, 0.0)
    made.policy_loaded("def456", named("day"), 1.0)
    made.command_settled("Call", 200, "day", "allow", 0.0, 0.0)
    found = samples(made.snapshot())
    assert found['interceptor_decisions_total{kind="command",rule="night",verdict="allow"}'] == 1
    assert found['interceptor_decisions_total{kind="command",rule="day",verdict="allow"}'] == 1


def test_limits_meters_and_copies_are_counted_by_closed_sets():
    made = metrics()
    made.limited(("rules/a.yaml:2 day", "rules/a.yaml:3 night", "rules/z.yaml:1 gone"), ("rules/a.yaml:3 night",))
    for reason in ("full", "forgotten", "expired", "else"):
        made.meter_lost(reason)
    for outcome in ("answered", "loop", "else"):
        made.copied(outcome)
    found = samples(made.snapshot())
    limited = {name: value for name, value in found.items() if "limited_messages" in name}
    assert limited == {
        'interceptor_limited_messages_total{mode="enforce",rule="day"}': 1,
        'interceptor_limited_messages_total{mode="shadow",rule="night"}': 1,
        'interceptor_limited_messages_total{mode="enforce",rule="_other"}': 1,
    }
    assert found['interceptor_meters_lost_total{reason="_other"}'] == 1
    assert found['interceptor_mirror_copies_total{outcome="_other"}'] == 1


def everything(made):
    """Touch every metric once."""
    made.command_settled("Call", 200, "day", "allow", 0.002, 0.00004)
    made.notification_settled("IncomingCall", "answered", "day", "allow", 0.002, 0.00004)
    made.verb_decided("deny", "night")
    made.rules_acted(("rules/a.yaml:2 day",), ("rules/a.yaml:3 night",), 5.0)
    made.near_misses(["day"])
    made.limited(("rules/a.yaml:2 day",), ())
    made.meter_lost("full")
    made.copied("answered")
    made.refused("bad_header")
    made.ambiguous_passed()
    made.not_well_formed(Kind.COMMAND)
    made.limit_hit("body")
    made.callbacks_captured(2, 130)
    made.call_saved("crm", "IncomingCall")
    made.caller_waited("routing", 0.2, 0.0001)
    joins = {"exact": 5, "inferred": 2, "ambiguous": 1, "refuted": 0}
    given_up = {"unseen": 1, "crowded": 0, "trimmed": 0, "missed": 0}
    made.calls_followed({"ringing": 2}, {"began": 4, **joins, **given_up}, unknown=1, lost=0)
    made.connection_opened("commands")
    made.connection_refused("commands")
    made.endpoint_up("pbx-main", "127.0.0.1:9780", up=True)
    made.endpoint_failed("pbx-main", "127.0.0.1:9780", "timeout")
    made.app_asked("crm", asked=True)
    made.repeated("crm")
    made.endpoint_draining("pbx-main", "127.0.0.1:9780", draining=False)
    made.endpoint_checked("pbx-main", "127.0.0.1:9780", "answered")
    made.call_looked_up("known")
    made.calls_located(3)
    made.older_policies(1)
    made.canary("def456", 5.0, "abc123")
    made.canary_messages({("def456", "allow"): 3, ("abc123", "allow"): 57})
    made.list_merged("whole")
    made.upstream_pool("127.0.0.1:9780", idle=3, busy=2, queued=1)
    made.retried("next_endpoint")
    made.journal_written(10, 3000, 0.0003)
    made.journal_failed("enospc")
    made.journal_lost(2)
    made.journal_state(pending=5, healthy=True)
    made.outbox_kept("crm")
    made.outbox_delivered("crm")
    made.outbox_failed("crm")
    made.outbox_dropped("crm", "full")
    made.outbox_depth("crm", 7)


def test_every_metric_can_be_counted_and_is_shown_in_both_formats():
    made = metrics()
    everything(made)
    snapshot = merge((made.snapshot(), policy()))
    assert {family.name for family in FAMILIES} == set(snapshot.series)
    text, content_type = exposition(snapshot)
    assert content_type.startswith("text/plain; version=")
    openmetrics, content_type = exposition(snapshot, "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    for read, encoded in ((read_text, text), (read_openmetrics, openmetrics)):
        assert len(FAMILIES) == len(list(read(encoded.decode())))


def test_before_anything_happened_every_metric_has_its_help():
    text = exposition(Snapshot("w1", 0.0, {}))[0].decode()
    for family in FAMILIES:
        assert f"# HELP {family.shown} {family.help}" in text


def test_names_follow_the_conventions_of_prometheus():
    for family in FAMILIES:
        assert re.fullmatch(r"interceptor_[a-z_]+", family.name)
        assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert family.help.endswith(".")
        assert (family.type is Type.HISTOGRAM) == bool(family.buckets)
        assert list(family.buckets) == sorted(family.buckets)
        if family.type is Type.HISTOGRAM:
            assert family.name.endswith("_seconds")


def test_a_snapshot_travels_as_msgpack():
    made = metrics()
    everything(made)
    snapshot = made.snapshot()
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(snapshot), type=Snapshot) == snapshot


def test_counters_and_histograms_add_up_over_workers():
    one, two = metrics("w1"), metrics("w2")
    everything(one)
    everything(two)
    two.command_settled("Call", 200, "day", "allow", 0.002, 0.00004)
    found = samples(merge((one.snapshot(), two.snapshot())))
    assert found['interceptor_commands_total{code="200",command="Call"}'] == 3
    assert found['interceptor_own_duration_seconds_count{kind="command"}'] == 3
    assert found['interceptor_own_duration_seconds_bucket{kind="command",le="5e-05"}'] == 3
    assert found["interceptor_journal_records_total{}"] == 20
    assert found["interceptor_journal_write_duration_seconds_count{}"] == 2


def test_gauges_add_up_or_the_worst_or_the_common_one_is_shown():
    one, two = metrics("w1"), metrics("w2")
    everything(one)
    everything(two)
    two.endpoint_up("pbx-main", "127.0.0.1:9780", up=False)
    two.journal_state(pending=1, healthy=False)
    found = samples(merge((one.snapshot(), two.snapshot())))
    assert found['interceptor_connections{listener="commands"}'] == 2
    assert found["interceptor_journal_pending_records{}"] == 6
    assert found['interceptor_outbox_entries{app="crm"}'] == 14
    assert found['interceptor_endpoint_up{cluster="pbx-main",endpoint="127.0.0.1:9780"}'] == 0
    assert found["interceptor_journal_healthy{}"] == 0
    assert found["interceptor_policy_rules{}"] == 2
    assert found['interceptor_policy_info{revision="abc123"}'] == 1


def test_each_worker_shows_its_own_memory_and_processor_time():
    found = samples(merge((metrics("w1").snapshot(), metrics("w2").snapshot())))
    for worker in ("w1", "w2"):
        assert found[f'interceptor_worker_resident_memory_bytes{{worker="{worker}"}}'] > 1_000_000
        assert found[f'interceptor_worker_cpu_seconds_total{{worker="{worker}"}}'] > 0


def test_merging_leaves_the_snapshots_as_they_are():
    made = metrics()
    everything(made)
    snapshot = made.snapshot()
    before = msgspec.msgpack.encode(snapshot)
    merge((snapshot, snapshot))
    assert msgspec.msgpack.encode(snapshot) == before


def test_what_a_worker_of_another_release_counts_is_not_shown_and_does_no_harm():
    snapshot = metrics().snapshot()
    snapshot.series["interceptor_invented"] = []
    assert "invented" not in exposition(merge((snapshot,)))[0].decode()


def test_a_dead_workers_counters_stay_and_its_gauges_go():
    gatherer = Gatherer()
    one, two = metrics("w1"), metrics("w2")
    everything(one)
    everything(two)
    gatherer.update(one.snapshot())
    gatherer.update(two.snapshot())
    gatherer.retire("w1")
    gatherer.retire("never-there")
    found = samples(gatherer.merged())
    assert found['interceptor_commands_total{code="200",command="Call"}'] == 2
    assert found['interceptor_connections{listener="commands"}'] == 1
    assert 'interceptor_worker_resident_memory_bytes{worker="w1"}' not in found


def test_a_restarted_worker_adds_to_what_its_former_life_has_counted():
    gatherer = Gatherer()
    for life in range(3):
        made = metrics("w1", started=float(life))
        made.command_settled("Call", 200, "day", "allow", 0.0, 0.0)
        gatherer.update(made.snapshot())
        gatherer.update(made.snapshot())  # asked twice: counted once
        found = samples(gatherer.merged())
        assert found['interceptor_commands_total{code="200",command="Call"}'] == life + 1


def test_gauges_can_be_read_just_before_a_snapshot():
    made = metrics()
    made.before_snapshot.append(lambda: made.journal_state(pending=42, healthy=True))
    assert samples(made.snapshot())["interceptor_journal_pending_records{}"] == 42


def test_counting_an_exchange_costs_microseconds():
    made = metrics()
    once = min(
        timeit.repeat(lambda: made.command_settled("Call", 200, "day", "allow", 0.002, 0.00004), number=2000, repeat=20)
    )
    assert once / 2000 < 10e-6, "the goal is 1.5 µs; this bound only catches a mistake of another order"


# Lists that others follow.


def test_the_manual_lists_every_metric_with_its_type_labels_and_help():
    manual = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(interceptor_\w+)` \| (\w+) \| ([^|]*) \| ([^|]*) \|$", manual, re.MULTILINE)
    listed = {name: (kind, re.findall(r"`(\w+)`", labels), text.strip()) for name, kind, labels, text in rows}
    assert listed == {family.shown: (family.type.value, list(family.labels), family.help) for family in FAMILIES}


@pytest.mark.parametrize(
    "values",
    [
        "NOTIFICATION_OUTCOMES",
        "REFUSAL_REASONS",
        "LIMITS",
        "ENDPOINT_FAILURE_REASONS",
        "CHECK_OUTCOMES",
        "LOOKUP_OUTCOMES",
        "LIST_OUTCOMES",
        "RETRY_REASONS",
        "DROP_REASONS",
        "JOINS",
        "SILENT_GROUPS",
        "SILENCE_PARTS",
    ],
)
def test_the_manual_lists_every_value_of_a_closed_set(values):
    manual = (ROOT / "docs" / "metrics.md").read_text()
    for value in getattr(families, values):
        assert f"`{value}`" in manual


def test_every_way_to_fail_and_every_refusal_of_the_gateway_has_a_label():
    reasons = {fault.value for fault in Fault}
    for source in (ROOT / "interceptor" / "gateway").glob("*.py"):
        reasons |= set(re.findall(r'(?:Http1Error|_refuse|refused)\(\s*"([a-z_0-9]+)"', source.read_text()))
    assert reasons <= set(families.REFUSAL_REASONS)


def test_what_is_counted_of_a_canary_goes_with_it_and_with_the_policy_beside_it():
    made = metrics()
    made.canary("next", 5.0, "now")
    made.canary_messages({("next", "deny"): 3, ("now", "allow"): 57, ("older", "allow"): 1})

    def counted():
        return {line.labels[0] for line in made.snapshot().series.get(families.CANARY_MESSAGES.name, ())}

    made.canary("next", 25.0, "now")
    assert counted() == {"next", "now"}
    made.canary("next", 25.0, "changed")
    assert counted() == {"next"}
    made.canary("", 0.0, "changed")
    assert counted() == set()
    assert families.CANARY.name not in made.snapshot().series or not made.snapshot().series[families.CANARY.name]
