"""`interceptor schema` through its door."""

import json


def test_the_names_of_a_configuration_are_offered_in_the_schema(command, place):
    (place / "rules" / "tables").mkdir()
    (place / "rules" / "tables" / "vip.txt").write_text("+36201234567\n")
    found = json.loads(command("schema", "--config", "config.yaml", cwd=place).stdout)
    definitions = found["$defs"]
    assert definitions["app"]["anyOf"][0] == {"enum": ["crm"]}
    assert {"enum": ["pbx"]} in definitions["rule"]["properties"]["reroute"]["anyOf"]
    assert {"enum": ["vip"]} in definitions["number"]["anyOf"][2]["properties"]["table"]["anyOf"]


def test_without_a_configuration_it_is_the_schema_of_the_package(command, place):
    from tests.cli.conftest import ROOT

    done = command("schema", "--output", "schema.json", cwd=place)
    assert (done.returncode, done.stdout) == (0, "")
    shipped = ROOT / "interceptor" / "policy" / "schema.json"
    assert (place / "schema.json").read_text(encoding="utf-8") == shipped.read_text(encoding="utf-8")


def test_a_configuration_that_is_not_there_exits_with_2(command, place):
    assert command("schema", "--config", "nothing.yaml", cwd=place).returncode == 2
