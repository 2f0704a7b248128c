"""The core touches nothing outside itself. An import contract sees what is imported; this sees what is done."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# In a process of its own, because an audit hook stays for good. Everything is loaded first, then the doors are shut.
PROGRAM = """
import sys
from pathlib import Path

from interceptor.audit.record import Recorder
from interceptor.config import read_config
from interceptor.document import read
from interceptor.identity import Identifier
from interceptor.loading import policy_context, rule_sources
from interceptor.exchanges import Arrival
from interceptor.pipeline import Pipeline
from interceptor.policy import compile_policy
from interceptor.values import Kind
import interceptor.pipeline, interceptor.wire.ozml, interceptor.wire.answers

root = Path(sys.argv[1])
config = (root / "config.example.yaml").read_bytes()
secrets = {"PBX_PASSWORD": "p", "CRM_PASSWORD": "c", "MARKETING_PASSWORD": "m"}
settings = read_config(config, "config.example.yaml", base=root, environment=secrets)
sources = rule_sources(root / "rules")


def arrival(kind, method, target, body=b""):
    form = {"content-type": "application/x-www-form-urlencoded"} if body else {}
    return Arrival("x-1", "commands", kind, "127.0.0.1", method, target, form, body, 1_800_000_000.0)


arrivals = [
    arrival(Kind.COMMAND, "GET", b"/?command=Call&Username=crm&Password=c&Dialed=%2b36201234567&ApiExtension=1001"),
    arrival(Kind.COMMAND, "GET", b"/?command=Call&Username=crm&Password=c&Dialed=%2b36901234567&ApiExtension=1001"),
    arrival(Kind.COMMAND, "GET", b"/command=ListActiveCalls"),
    arrival(Kind.COMMAND, "POST", b"/", b"command=Hangup&CallId=7&Username=crm&Password=wrong"),
    arrival(Kind.COMMAND, "GET", b"/?\\xff%zz=&command=Call&Command=Call"),
    arrival(Kind.NOTIFICATION, "POST", b"/route", b"NotificationName=RoutingInterception&CallerID=2301"),
    arrival(Kind.NOTIFICATION, "POST", b"/pbx?a=1", b"NotificationName=IncomingCall&CallerID=%2b3612345678"),
]


def exchange_all():
    rules = compile_policy(sources, policy_context(settings))
    identifier = Identifier(settings.apps.values(), b"k" * 32)
    pipeline = Pipeline(settings, rules, Recorder("w0", settings.journal.masking), identifier)
    for each in arrivals:
        opened = pipeline.begin(each)
        pipeline.finish(opened, 200, b"<Response><Code>200</Code><Message>ok</Message></Response>")
        pipeline.finish(opened, 500, b"<html>")
        pipeline.broken(each)
    return len(rules.rules)


def warm():
    # Libraries read their own data once (number plans, time zones, codecs); that is loading, not deciding.
    exchange_all()


warm()
TOUCHES = ("open", "socket.", "os.", "subprocess.", "shutil.", "tempfile.", "urllib.", "http.", "glob.", "pathlib.")
seen = []


def hook(event, arguments):
    if event.startswith(TOUCHES):
        seen.append((event, repr(arguments)[:200]))


sys.addaudithook(hook)
count = exchange_all()
read(config, "config.example.yaml")
touched = list(seen)
open(root / "config.example.yaml").close()
assert len(seen) > len(touched), "the hook sees nothing"
print(count, touched)
"""


def test_deciding_touches_no_file_no_socket_and_no_process():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count, _, touched = done.stdout.partition(" ")
    assert int(count) > 0
    assert touched.strip() == "[]"


def test_no_module_has_a_name_that_was_not_found_yet():
    names = {path.stem for path in (ROOT / "interceptor").rglob("*.py")}
    assert names.isdisjoint({"utils", "util", "helpers", "helper", "common", "misc", "tools"})
