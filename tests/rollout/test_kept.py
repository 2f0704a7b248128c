"""The policies that are kept on disk: whole or not at all, bounded, checked when they are read back."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy import Source
from interceptor.rollout import kept as module
from interceptor.rollout.kept import KEPT, DamagedError, InForce, KeptPolicies


def sources(*texts):
    return tuple(Source(f"rules/{place}.yaml", text.encode()) for place, text in enumerate(texts))


def keep(policies, *texts, previous=0, at=1.0):
    return policies.keep(sources(*texts), f"rev-{texts[0]}", at=at, by="file", previous=previous)


def test_what_is_kept_comes_back_as_it_was(tmp_path):
    policies = KeptPolicies(tmp_path / "policy")
    assert (policies.in_force(), policies.history()) == (None, ())
    one = keep(policies, "a", "b")
    policies.put_in_force(one.number, "digest")
    again = KeptPolicies(tmp_path / "policy")
    assert again.in_force() == InForce(one.number, "digest")
    assert again.find(one.number) == one
    assert again.sources(one) == sources("a", "b")
    assert again.history() == (one,)


@given(texts=st.lists(st.binary(max_size=40), max_size=4))
def test_any_bytes_come_back(tmp_path_factory, texts):
    policies = KeptPolicies(tmp_path_factory.mktemp("any") / "policy")
    given_sources = tuple(Source(f"rules/{place}", text) for place, text in enumerate(texts))
    assert policies.sources(policies.keep(given_sources, "r", at=1.0, by="file", previous=0)) == given_sources


def test_nobody_else_may_read_it_because_numbers_stand_in_it(tmp_path):
    policies = KeptPolicies(tmp_path / "policy")
    policies.put_in_force(keep(policies, "a").number)
    files = [path for path in (tmp_path / "policy").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert len(files) == 3


def test_equal_files_are_kept_once_and_old_sets_go(tmp_path):
    policies = KeptPolicies(tmp_path / "policy")
    first = keep(policies, "the table", "rules 0")
    policies.put_in_force(first.number)
    for number in range(1, KEPT + 5):
        policies.put_in_force(keep(policies, "the table", f"rules {number}").number)
    assert len(policies.history()) == KEPT
    assert policies.find(first.number) is None
    assert len(list((tmp_path / "policy" / "files").iterdir())) == KEPT + 1


def test_the_set_in_force_stays_however_old_it_is(tmp_path):
    policies = KeptPolicies(tmp_path / "policy")
    first = keep(policies, "first")
    for number in range(KEPT + 5):
        keep(policies, f"rules {number}")
    policies.put_in_force(first.number)
    assert policies.sources(policies.find(first.number)) == sources("first")


@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_file_that_was_damaged_is_told(tmp_path, harm):
    policies = KeptPolicies(tmp_path / "policy")
    one = keep(policies, "some rules")
    (file,) = (tmp_path / "policy" / "files").iterdir()
    match harm:
        case "cut":
            file.write_bytes(b"some")
        case "changed":
            file.write_bytes(b"some rulez")
        case "gone":
            file.unlink()
    with pytest.raises(DamagedError, match=r"which was `rules/0\.yaml`"):
        policies.sources(one)
    keep(policies, "some rules")  # the next time it is written anew
    assert policies.sources(one) == sources("some rules")


def test_lists_that_were_damaged_are_told_or_passed_over(tmp_path):
    policies = KeptPolicies(tmp_path / "policy")
    one, two = keep(policies, "one"), keep(policies, "two")
    policies.put_in_force(two.number)
    (tmp_path / "policy" / "sets" / f"{one.number:06d}.json").write_text("{")
    (tmp_path / "policy" / "sets" / "notes.json").write_text("not ours")
    assert policies.history() == (two,)
    with pytest.raises(DamagedError):
        policies.find(one.number)
    (tmp_path / "policy" / "sets" / f"{one.number:06d}.json").write_bytes(
        (tmp_path / "policy" / "sets" / f"{two.number:06d}.json").read_bytes()
    )
    with pytest.raises(DamagedError, match="holds something else"):
        policies.find(one.number)
    (tmp_path / "policy" / "in-force.json").write_text("")
    with pytest.raises(DamagedError):
        policies.in_force()


def test_a_disk_without_room_leaves_what_was_there(tmp_path, monkeypatch):
    policies = KeptPolicies(tmp_path / "policy")
    one = keep(policies, "one")
    policies.put_in_force(one.number)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            keep(policies, "two")
        with pytest.raises(OSError, match="No space left"):
            policies.put_in_force(2)
    assert policies.in_force() == InForce(one.number)
    assert policies.history() == (one,)
    assert not list((tmp_path / "policy").rglob(".*"))
    assert policies.sources(keep(policies, "two")) == sources("two")


def test_a_canary_is_kept_with_its_set_and_goes_with_it(tmp_path):
    policies = KeptPolicies(tmp_path)
    canary = (Source("rules-next/a.yaml", b"next"),)
    kept = policies.keep(
        sources("one"), "r", at=1.0, by="canary", previous=0, canary=canary, canary_revision="c", percent=2.5
    )
    policies.put_in_force(kept.number)
    found = policies.find(kept.number)
    assert found == kept
    assert (policies.canary_sources(found), found.canary_revision, found.percent) == (canary, "c", 2.5)
    assert policies.sources(found) == sources("one")
    alone = keep(policies, "one")
    assert (policies.canary_sources(alone), alone.percent) == ((), 0.0)
