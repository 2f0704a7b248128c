"""HAProxy: plain, and with the policy in Lua."""

import shutil
import subprocess

from bench.contestant import Contestant, Launch, Site
from bench.lua import policy
from bench.rules import REFUSED, UNKNOWN_APP, refusal_xml

_CONFIG = """
global
  nbthread 1
  maxconn 4096
{lua}
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 300s
  maxconn 4096
frontend commands
  bind 127.0.0.1:{port} backlog 8192
{conditions}
  default_backend pbx
backend pbx
  server one 127.0.0.1:{backend} pool-max-conn 1024 pool-purge-delay 300s
"""
_ACTION = """
core.register_action("decide", {"http-req"}, function(transaction)
  local code = decide(transaction.sf:query())
  if code then transaction:set_var("txn.code", code) end
end)
"""


def contestants(rules: int) -> list[Contestant]:
    """Plain, and with a policy of so many rules."""

    def plain(site: Site) -> Launch:
        return _launch(site, "", "")

    def with_lua(site: Site) -> Launch:
        site.folder.mkdir(parents=True, exist_ok=True)
        script = site.folder / "policy.lua"
        script.write_text(policy(rules) + _ACTION)
        refuse = "\n".join(
            f"  http-request return status 200 content-type application/xml string '{refusal_xml((code, message))}'"
            f" if {{ var(txn.code) -m int {code} }}"
            for code, message in (UNKNOWN_APP, REFUSED)
        )
        return _launch(site, f"  lua-load {script}", f"  http-request lua.decide\n{refuse}")

    return [
        Contestant("haproxy", "HAProxy", plain),
        Contestant("haproxy-lua", f"HAProxy + {rules:,}-rule Lua policy", with_lua, rules=rules),
    ]


def version() -> str:
    """The version, ``""`` when it is not installed."""
    if not _find():
        return ""
    return subprocess.run([_find(), "-v"], capture_output=True, text=True, check=False).stdout.split()[2]


def _find() -> str:
    return (
        shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
        or shutil.which("haproxy")
        or ""
    )


def _launch(site: Site, lua: str, conditions: str) -> Launch:
    site.folder.mkdir(parents=True, exist_ok=True)
    config = site.folder / "haproxy.cfg"
    config.write_text(_CONFIG.format(port=site.port, backend=site.backend_port, lua=lua, conditions=conditions))
    return Launch([_find(), "-db", "-f", str(config)], site.port, "/?command=ListExtensions")
