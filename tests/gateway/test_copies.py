"""How processes are started: as copies where the system can, else anew."""

import multiprocessing
from pathlib import Path

import pytest

from interceptor.processes import copies


def test_where_no_temporary_folder_can_be_had_processes_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("multiprocessing.util.get_temp_dir", none)
    assert copies().get_start_method() == "spawn"


def test_where_the_temporary_folder_has_too_long_a_name_processes_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multiprocessing.util.get_temp_dir", lambda: str(tmp_path / ("long" * 20)))
    assert copies().get_start_method() == "spawn"


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="a habit of Unix")
def test_elsewhere_they_are_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")  # it stays set otherwise
    assert copies().get_start_method() == "forkserver"
