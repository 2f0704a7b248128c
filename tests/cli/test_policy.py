"""``interceptor policy``, and a server that does not answer."""

import socket
import time

import pytest

from interceptor.cli import policy


@pytest.fixture
def silent():
    """The address of somebody who takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def test_looking_at_the_policy_of_a_server_that_does_not_answer_gives_up(command, silent, tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "LOOK_SECONDS", 0.2)
    began = time.monotonic()
    done = command("policy", "status", "--admin", silent, cwd=tmp_path)
    assert time.monotonic() - began < 5
    assert (done.returncode, done.stderr) == (2, f"no answer from {silent}: timed out\n")
