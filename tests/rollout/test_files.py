"""What stands in the policy's files at one moment, and whether they changed."""

import os

import pytest

from interceptor.rollout import files as module
from interceptor.rollout.files import ChangingError, fingerprint, read_files

RULES = "rules:\n  - {name: a, on: Call, allow: true}\n"


@pytest.fixture
def rules(tmp_path):
    folder = tmp_path / "rules"
    (folder / "tables").mkdir(parents=True)
    (folder / "a.yaml").write_text(RULES)
    (folder / "a.test.yaml").write_text("cases: []\n")
    (folder / "tables" / "vip.txt").write_text("+3612222222\n")
    return folder


def test_rules_tables_and_cases_are_read(rules):
    found = read_files(rules)
    assert [source.file for source in found.sources] == ["rules/a.yaml", "rules/tables/vip.txt"]
    assert [source.file for source in found.cases] == ["rules/a.test.yaml"]
    assert found.fingerprint == fingerprint(rules)


@pytest.mark.parametrize("name", ["a.yaml", "a.test.yaml", "tables/vip.txt"])
def test_a_change_of_any_of_them_is_seen(rules, name):
    before = fingerprint(rules)
    assert fingerprint(rules) == before
    with (rules / name).open("a") as opened:
        opened.write("\n")
    assert fingerprint(rules) != before


def test_files_that_come_go_and_are_renamed_are_seen(rules):
    first = fingerprint(rules)
    (rules / "b.yaml").write_text(RULES.replace("a", "b"))
    more = fingerprint(rules)
    (rules / "b.yaml").rename(rules / "c.yaml")
    renamed = fingerprint(rules)
    (rules / "c.yaml").unlink()
    assert fingerprint(rules) == first
    beside = rules / ".a.yaml.swp"  # as an editor writes: beside it, then in its place; here even with the old time
    beside.write_text(RULES)
    os.utime(beside, ns=((rules / "a.yaml").stat().st_atime_ns, (rules / "a.yaml").stat().st_mtime_ns))
    beside.replace(rules / "a.yaml")
    assert len({first, more, renamed, fingerprint(rules)}) == 4


def test_what_is_not_the_policys_is_not_looked_at(rules):
    before = fingerprint(rules)
    (rules / "README.md").write_text("how to")
    (rules / ".git").mkdir()
    (rules / ".git" / "x.yaml").write_text("")
    (rules / ".a.yaml.swp").write_text("")
    assert fingerprint(rules) == before


def test_a_swapped_link_as_kubernetes_does_it_is_one_change(tmp_path):
    for revision, text in (("..2026_1", RULES), ("..2026_2", RULES.replace("Call", "SendSms"))):
        (tmp_path / revision).mkdir()
        (tmp_path / revision / "a.yaml").write_text(text)
    mounted = tmp_path / "rules"
    mounted.mkdir()
    (mounted / "..data").symlink_to(tmp_path / "..2026_1")
    (mounted / "a.yaml").symlink_to("..data/a.yaml")
    before, first = fingerprint(mounted), read_files(mounted)
    assert [source.file for source in first.sources] == ["rules/a.yaml"]
    (mounted / "..data_tmp").symlink_to(tmp_path / "..2026_2")
    (mounted / "..data_tmp").rename(mounted / "..data")
    assert fingerprint(mounted) != before
    assert b"SendSms" in read_files(mounted).sources[0].data


def test_a_link_to_a_release_that_is_swapped_is_a_change(tmp_path, rules):
    link = tmp_path / "current"
    link.symlink_to(rules)
    before = fingerprint(link)
    (tmp_path / "next").mkdir()
    (tmp_path / "next" / "a.yaml").write_text(RULES)
    (tmp_path / "other").symlink_to(tmp_path / "next")
    (tmp_path / "other").rename(link)
    assert fingerprint(link) != before


def test_one_file_may_be_the_policy_with_tables_beside_it(rules):
    alone = rules / "a.yaml"
    before = fingerprint(alone)
    (rules / "b.yaml").write_text("")
    assert fingerprint(alone) == before
    (rules / "tables" / "vip.txt").write_text("+3613333333\n+3614444444\n")
    assert fingerprint(alone) != before


def test_what_is_not_there_is_a_state_too(tmp_path, rules):
    assert fingerprint(tmp_path / "nowhere") == fingerprint(tmp_path / "nowhere")
    assert fingerprint(tmp_path / "nowhere") != fingerprint(rules)
    (rules / "b.yaml").symlink_to("nowhere")
    assert fingerprint(rules) == fingerprint(rules)
    with pytest.raises(FileNotFoundError):
        read_files(rules)


@pytest.mark.parametrize("fails", [False, True])
def test_files_that_change_while_they_are_read_are_not_used(rules, monkeypatch, fails):
    read = module.rule_sources

    def meanwhile(path):
        found = read(path)
        with (rules / "a.yaml").open("a") as opened:
            opened.write("# half of\n")
        if fails:
            raise FileNotFoundError(2, "No such file or directory")
        return found

    monkeypatch.setattr(module, "rule_sources", meanwhile)
    with pytest.raises(ChangingError):
        read_files(rules)


def test_the_digest_follows_names_and_texts_and_nothing_else(rules):
    before = read_files(rules).digest
    os.utime(rules / "a.yaml", (1, 1))
    (rules / "a.test.yaml").write_text("cases:\n")
    assert read_files(rules).digest == before
    (rules / "a.yaml").rename(rules / "b.yaml")
    assert read_files(rules).digest != before
