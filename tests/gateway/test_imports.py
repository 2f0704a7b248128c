"""What a worker imports, and what it does not."""

import subprocess
import sys

CODE = """
import sys
import interceptor.worker
from mitmproxy.addons import proxyserver
print(sorted({"flask", "ldap3", "pyperclip", "mitmproxy.addons.onboarding"} & set(sys.modules)), proxyserver.__name__)
"""


def test_a_worker_has_only_those_addons_of_mitmproxy_that_it_uses() -> None:
    told = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "[] mitmproxy.addons.proxyserver"
