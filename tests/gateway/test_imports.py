"""What a process that serves imports, and what it does not."""

import subprocess
import sys

import pytest

PROBE = """
import sys
import {module}
from interceptor.gateway import left_out, master
heavy = {{
    "aioquic._crypto", "flask", "ldap3", "mitmproxy.addons.onboarding", "mitmproxy_rs.mitmproxy_rs", "pyparsing.core",
    "pyperclip", "ruamel.yaml.main", "aiohttp", "typer", "rich", "interceptor.admin", "interceptor.simulator",
}}
print(*sorted(heavy & set(sys.modules)))
"""
USING = """
import interceptor.gateway.master
import mitmproxy.proxy.layers.quic as quic
from interceptor.gateway.left_out import LeftOutError
from mitmproxy.addons import proxyserver
import mitmproxy_rs
print(isinstance(quic, quic.ClientQuicLayer), isinstance(1, mitmproxy_rs.udp.UdpServer | None), proxyserver.__name__)
print(hasattr(mitmproxy_rs.udp, "__wrapped__"))
try:
    quic.ClientQuicLayer(None)
except LeftOutError as error:
    print(error)
"""


def told(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("module", "also"), [("interceptor.worker_process", ""), ("interceptor.app", "interceptor.admin")]
)
def test_a_process_that_serves_has_only_what_it_uses(module: str, also: str) -> None:
    assert told(PROBE.format(module=module)) == [also]


def test_what_is_left_out_of_mitmproxy_is_nothing_and_says_so_when_it_is_used() -> None:
    assert told(USING) == [
        "False False mitmproxy.addons.proxyserver",
        "False",
        "mitmproxy.proxy.layers.quic.ClientQuicLayer is left out (interceptor/gateway/left_out.py)",
    ]
