"""Stock ``mitmdump`` in reverse mode, with the policy as an addon, the way its manual teaches."""

import shutil
import subprocess
import sys
from pathlib import Path

from bench.contestant import Contestant, Launch, Site
from bench.rules import ALLOWED_PREFIXES, APPS, HOURS, REFUSED, UNKNOWN_APP, as_keys, refusal_xml

_ADDON = """
import time
from mitmproxy import http

APPS = {apps!r}
HOURS = {hours!r}
ALLOWED = {allowed!r}
ANSWERS = {answers!r}
DENIED = {denied!r}
LENGTHS = {lengths!r}


def decide(query):
    values = {{name.lower(): value for name, value in query.items()}}
    app = values.get("username", "")
    if APPS.get(app) is None or APPS[app] != values.get("password"):
        return {unknown_app}
    number = values.get("dialed") or values.get("recipient") or values.get("target") or ""
    if number.startswith("00"):
        number = "+" + number[2:]
    elif number.startswith("06"):
        number = "+36" + number[2:]
    key = values.get("command", "") + ":" + app + ":"
    for length in LENGTHS:
        window = DENIED.get(key + number[:length])
        if window is not None:
            if not window:
                return {refused}
            hour = time.gmtime().tm_hour
            begin, end = HOURS[window]
            if begin <= hour < end if begin < end else hour >= begin or hour < end:
                return {refused}
    return None if number.startswith(ALLOWED) else {refused}


def request(flow):
    code = decide(flow.request.query)
    if code:
        flow.response = http.Response.make(200, ANSWERS[code], {{"Content-Type": "application/xml"}})
"""


def contestants(rules: int) -> list[Contestant]:
    """With a policy of so many rules."""

    def with_addon(site: Site) -> Launch:
        site.folder.mkdir(parents=True, exist_ok=True)
        addon = site.folder / "policy.py"
        keys = as_keys(rules)
        addon.write_text(
            _ADDON.format(
                apps=APPS,
                hours=HOURS,
                allowed=ALLOWED_PREFIXES,
                answers={code: refusal_xml((code, message)) for code, message in (UNKNOWN_APP, REFUSED)},
                denied=keys,
                lengths=sorted({len(key.rsplit(":", 1)[1]) for key in keys}),
                unknown_app=UNKNOWN_APP[0],
                refused=REFUSED[0],
            )
        )
        options = [f"confdir={site.folder}", "flow_detail=0", "termlog_verbosity=error"]
        command = [_find(), "-q", "--mode", f"reverse:http://127.0.0.1:{site.backend_port}@127.0.0.1:{site.port}"]
        for option in options:
            command += ["--set", option]
        return Launch([*command, "-s", str(addon)], site.port, "/?command=ListExtensions")

    return [Contestant("mitmdump", f"stock mitmdump + {rules:,}-rule addon", with_addon, rules=rules)]


def version() -> str:
    """The version, ``""`` when it is not installed."""
    if not _find():
        return ""
    told = subprocess.run([_find(), "--version"], capture_output=True, text=True, check=False).stdout.split()
    return told[1] if len(told) > 1 else ""


def _find() -> str:
    beside = Path(sys.executable).parent / "mitmdump"
    return str(beside) if beside.exists() else shutil.which("mitmdump") or ""
