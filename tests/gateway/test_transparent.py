"""Transparent mode: a client dials a PBX that is not there, a redirect rule brings it to Interceptor.

Two namespaces with a cable between them; the rule, Interceptor and the PBX are in the one, the client in the other.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from interceptor.settings import Address
from tests.gateway.harness import OK_XML, Backend, Client, Loop, answering
from tests.gateway.process import Process

pytestmark = pytest.mark.namespaces

ASKED = Address("203.0.113.9", 9780)  # where the client believes that its PBX is
CAUGHT = Address("192.0.2.1", 7782)  # where we listen; in a namespace of our own every port is free
REDIRECT = f"""
table ip interceptor {{
    chain caught {{
        type nat hook prerouting priority dstnat;
        ip daddr {ASKED.host} tcp dport {ASKED.port} redirect to :{CAUGHT.port}
    }}
}}
"""


def run(*command: str, given: str = "") -> None:
    subprocess.run(command, input=given, capture_output=True, text=True, timeout=10, check=True)


@dataclass
class Namespaces:
    """``ours`` has the rule, ``theirs`` has the client."""

    ours: str
    theirs: str

    def within[T](self, namespace: str, work: Callable[[], T]) -> T:
        """Do something in a namespace; a socket stays in the one where it was made."""
        done: list[T] = []

        def entered() -> None:
            with Path(f"/run/netns/{namespace}").open("rb") as opened:
                os.setns(opened.fileno(), os.CLONE_NEWNET)
            done.append(work())

        thread = threading.Thread(target=entered)
        thread.start()
        thread.join(30)
        return done[0]


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("network namespaces need Linux and root")
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    made = Namespaces(f"ours{os.getpid()}", f"theirs{os.getpid()}")
    try:
        try:
            for name in (made.ours, made.theirs):
                run("ip", "netns", "add", name)
                run("ip", "-n", name, "link", "set", "lo", "up")
            run("ip", "-n", made.ours, "link", "add", "cable", "type", "veth", "peer", "cable", "netns", made.theirs)
            for name, address in ((made.ours, CAUGHT.host), (made.theirs, "192.0.2.2")):
                run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "cable")
                run("ip", "-n", name, "link", "set", "cable", "up")
            run("ip", "-n", made.theirs, "route", "add", "default", "via", CAUGHT.host)
            run("ip", "netns", "exec", made.ours, "nft", "-f", "-", given=REDIRECT)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this machine does not allow it: {error.stderr.strip()}")
        yield made
    finally:
        for name in (made.ours, made.theirs):  # the cable and the rule go with them
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=10, check=False)


def test_a_redirected_client_is_served_through_the_same_pipeline(
    namespaces: Namespaces, process: Callable[..., Process], loop: Loop
) -> None:
    listening = namespaces.within(namespaces.ours, lambda: socket.create_server(("127.0.0.1", 0)))
    pbx = Backend(loop, answering(), listening=listening).start()
    running = process(
        pbx.port,
        commands=str(CAUGHT),
        mode="transparent",
        prefix=["ip", "netns", "exec", namespaces.ours],
        rules="rules:\n  - {name: no-calls, on: Call, deny: {code: 306}}\n  - {name: rest, on: command, allow: true}\n",
    )
    running.wait_for("admin listens on")
    client = namespaces.within(namespaces.theirs, lambda: Client(ASKED))
    request = b"GET /?command=%b HTTP/1.1\r\nHost: pbx.test\r\nX-Odd:  two \r\n\r\n"
    allowed = client.send(request % b"ListActiveCalls&X=%2b").read()
    refused = client.send(request % b"Call&Dialed=1001").read()
    assert (allowed.status, allowed.body) == (200, OK_XML)
    assert refused.code == 306
    (seen,) = pbx.requests
    assert seen.startswith(b"GET /?command=ListActiveCalls&X=%2b HTTP/1.1\r\nHost: pbx.test\r\n")
    assert b"\r\nX-Forwarded-For: 192.0.2.2\r\n" in seen

    direct = namespaces.within(namespaces.theirs, lambda: Client(CAUGHT))  # it needs no rule to be judged alike
    assert direct.send(request % b"Call&Dialed=1002").read().code == 306

    running.signal(signal.SIGTERM)
    assert client.ended()
    assert running.ended() == 0
    decisions = [record for record in running.journal() if record["event"] == "decision"]
    assert [(each["listener"], each["name"], each["verdict"]) for each in decisions] == [
        ("commands", "ListActiveCalls", "allow"),
        ("commands", "Call", "deny"),
        ("commands", "Call", "deny"),
    ]
    assert len(pbx.requests) == 1
    pbx.stop()
    client.close()
    direct.close()
