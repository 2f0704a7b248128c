import asyncio

import aiohttp
import pytest

from interceptor.admin import AdminServer
from interceptor.metrics import Metrics
from interceptor.settings import Address, Secret

ATTEMPT = {
    "at": "2026-11-23T10:00:00Z",
    "by": "file",
    "outcome": "refused",
    "message": "1 problem",
    "revision": "",
    "seconds": 0.25,
    "problems": [{"place": "rules/a.yaml:4:5", "message": "unknown key `denny`"}],
}
RULE = {
    "name": "day",
    "place": "rules/a.yaml:2",
    "mode": "enforce",
    "actions": ["deny"],
    "since": "2026-11-23T09:00:00Z",
}
PAGE = {
    "revision": "abc123",
    "loaded_at": "2026-11-23T09:00:00Z",
    "loaded_by": "start",
    "matches_files": False,
    "warnings": ["policy: the last reload was refused"],
    "workers": {"w0": "abc123"},
    "older_policies": 1,
    "canary": {
        "revision": "def456",
        "share": "5%",
        "messages": {"abc123": {"allow": 40, "deny": 2}, "def456": {"allow": 3}},
        "files": [{"file": "rules-next/a.yaml", "sha256": "e" * 64, "bytes": 78}],
    },
    "files": [{"file": "rules/a.yaml", "sha256": "f" * 64, "bytes": 77}],
    "last_attempt": ATTEMPT,
    "history": [
        {
            "revision": "abc123",
            "loaded_at": "2026-11-23T09:00:00Z",
            "loaded_by": "start",
            "in_force": True,
            "canary": {"revision": "def456", "share": "5%"},
        },
        {
            "revision": "000123",
            "loaded_at": "2026-11-22T09:00:00Z",
            "loaded_by": "file",
            "in_force": False,
            "canary": None,
        },
    ],
    "near_miss_samples": 9,
    "rules": [
        RULE | {"hits": 4, "near_misses": 1, "last_hit": "2026-11-23T09:30:00Z"},
        RULE | {"name": "night", "mode": "shadow", "hits": 0, "near_misses": 0, "last_hit": "", "would_have": 3},
        RULE | {"name": "noon", "mode": "off", "hits": 0, "near_misses": 0, "last_hit": ""},
    ],
}


class Source:
    """A worker as the admin server sees it."""

    def __init__(self):
        self.reasons = ()
        self.told = ()
        self.outcome = "loaded"
        self.asked = []
        self.metrics_made = Metrics("w1", commands=["Call"], codes=[200])
        self.fault = None
        self.hangs = False

    async def _trouble(self):
        if self.fault is not None:
            raise self.fault
        if self.hangs:
            await asyncio.Event().wait()

    async def not_ready(self):
        await self._trouble()
        return self.reasons

    async def metrics(self):
        await self._trouble()
        return self.metrics_made.snapshot()

    async def config(self):
        await self._trouble()
        return {"country": "HU", "password": Secret("hunter2"), "workers": 1}

    async def warnings(self):
        return self.told

    async def policy(self):
        await self._trouble()
        return PAGE

    async def reload_policy(self, *, at_once=False):
        await self._trouble()
        self.asked.append("reload")
        return {"outcome": self.outcome, "in_force": "abc123"}

    async def preview_policy(self):
        return {"outcome": "compared", "in_force": "abc123"}

    async def roll_back_policy(self, revision):
        self.asked.append(f"rollback {revision}")
        return {"outcome": self.outcome, "in_force": "abc123"}

    async def try_canary(self, percent):
        self.asked.append(f"canary {percent:g}")
        return {"outcome": self.outcome, "in_force": "abc123"}


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def ask(source):
    """Ask a fresh server on a free port; the answer's status, headers and text."""

    def asker(path, method="GET", **more):
        async def story():
            server = AdminServer(Address("127.0.0.1", 0), source, source_seconds=0.05)
            address = await server.start()
            try:
                async with (
                    aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session,
                    session.request(method, f"http://{address}{path}", **more) as answer,
                ):
                    return answer.status, answer.headers, await answer.text()
            finally:
                await server.stop()

        return asyncio.run(story())

    return asker


def test_it_is_alive_when_it_answers_whatever_the_workers_do(ask, source):
    source.hangs = True
    assert ask("/livez")[0] == 200


def test_it_is_ready_when_there_is_no_reason_not_to_be(ask):
    status, headers, text = ask("/readyz")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert text == '{\n  "ready": true,\n  "reasons": [],\n  "warnings": []\n}\n'


def test_what_is_odd_although_it_serves_is_told_beside_readiness(ask, source):
    source.told = ("policy: the last good revision is in force",)
    status, _, text = ask("/readyz")
    assert (status, '"policy: the last good revision is in force"' in text) == (200, True)


def test_it_is_not_ready_for_reasons_that_it_names(ask, source):
    source.reasons = ("no endpoint of `pbx-main` is up", "journal cannot write: No space left on device")
    status, _, text = ask("/readyz")
    assert status == 503
    for reason in source.reasons:
        assert reason in text


def test_workers_that_do_not_answer_are_not_ready(ask, source):
    source.hangs = True
    status, _, text = ask("/readyz")
    assert status == 503
    assert "the workers did not answer in time" in text


def test_a_fault_is_not_readiness(ask, source):
    source.fault = RuntimeError("hunter2")
    status, _, text = ask("/readyz")
    assert status == 503
    assert "RuntimeError" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("path", ["/metrics", "/config", "/policy"])
def test_a_page_that_cannot_be_made_says_so_in_one_line(ask, source, path):
    source.fault = RuntimeError("hunter2")
    assert ask(path)[::2] == (500, "this page could not be made: RuntimeError\n")


@pytest.mark.parametrize("path", ["/metrics", "/config", "/policy"])
def test_workers_that_hang_do_not_hang_the_page(ask, source, path):
    source.hangs = True
    assert ask(path)[::2] == (503, "the workers did not answer in time\n")


def test_metrics_are_text_for_prometheus(ask, source):
    source.metrics_made.command_settled("Call", 200, "", "allow", 0.001, 0.0001)
    status, headers, text = ask("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    assert 'interceptor_commands_total{code="200",command="Call"} 1.0' in text


def test_metrics_are_openmetrics_where_that_is_asked_for(ask):
    _, headers, text = ask("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_the_settings_show_no_secret_even_if_the_source_forgets(ask):
    status, _, text = ask("/config")
    assert status == 200
    assert '"country": "HU"' in text
    assert "hunter2" not in text


def test_the_policy_in_force_is_shown(ask):
    assert '"revision": "abc123"' in ask("/policy")[2]


@pytest.mark.parametrize(
    "how", [{"path": "/policy?format=text"}, {"path": "/policy", "headers": {"Accept": "text/plain"}}]
)
def test_the_policy_is_text_for_people_who_ask_so(ask, how):
    _, headers, text = ask(**how)
    assert headers["Content-Type"].startswith("text/plain")
    assert text == READABLE


SHARE = "share should be a part of the calls such as 5%, or off\n"
READABLE = """\
revision  abc123   in force since 2026-11-23T09:00:00Z, by start
files     1   NOT what is in force
          rules/a.yaml  ffffffffffff  77 bytes
workers   w0 decides by abc123
canary    revision def456 decides 5% of the calls
          messages since, by abc123: allow 40, deny 2
          messages since, by def456: allow 3
          rules-next/a.yaml  eeeeeeeeeeee  78 bytes
older     policies that still decide for calls in progress: 1
WARNING   policy: the last reload was refused
last try  2026-11-23T10:00:00Z, by file: refused, 1 problem (0.2 s)
          rules/a.yaml:4:5: unknown key `denny`
history   abc123  2026-11-23T09:00:00Z  by start  with def456 for 5%   in force
history   000123  2026-11-22T09:00:00Z  by file

      hits   near last hit                  rule
         4      1 2026-11-23T09:30:00Z      day  (rules/a.yaml:2: deny)
         0      0 -                         night  (rules/a.yaml:2: deny)   shadow: would have acted 3 times
         0      0 -                         noon  (rules/a.yaml:2: deny)   off
near misses: of 9 sampled messages
"""


@pytest.mark.parametrize(
    ("outcome", "status"), [("loaded", 200), ("unchanged", 200), ("refused", 422), ("failed", 503)]
)
def test_the_policy_is_loaded_and_rolled_back_by_post(ask, source, outcome, status):
    source.outcome = outcome
    assert ask("/policy/reload", method="POST")[0] == status
    assert ask("/policy/rollback", method="POST")[0] == status
    assert ask("/policy/rollback?to=abc", method="POST")[0] == status
    assert ask("/policy/canary?share=2.5%25", method="POST")[0] == status
    assert ask("/policy/canary?share=off", method="POST")[0] == status
    assert source.asked == ["reload", "rollback ", "rollback abc", "canary 2.5", "canary 0"]
    assert ask("/policy/canary?share=5", method="POST")[::2] == (400, SHARE)
    assert ask("/policy/canary", method="POST")[::2] == (400, SHARE)
    assert ask("/policy/reload")[0] == 405


def test_what_a_reload_would_change_is_shown(ask):
    status, _, text = ask("/policy/preview")
    assert (status, '"outcome": "compared"' in text) == (200, True)


def test_a_post_of_a_browser_is_refused(ask, source):
    status, _, text = ask("/policy/reload", method="POST", headers={"Origin": "http://evil.test"})
    assert (status, text, source.asked) == (403, "browsers are not answered here\n", [])


def test_the_first_page_lists_the_others(ask):
    status, headers, text = ask("/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    for path in ("/livez", "/readyz", "/metrics", "/config", "/policy"):
        assert f'href="{path}"' in text


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/metrics", "/config", "/policy"])
def test_head_is_answered_without_a_body(ask, path):
    status, headers, text = ask(path, method="HEAD")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) > 0


def test_an_unknown_path_is_404_in_plain_text(ask):
    status, headers, text = ask("/nowhere")
    assert (status, text) == (404, "Not Found\n")
    assert headers["Content-Type"].startswith("text/plain")


def test_it_only_reads(ask):
    status, headers, _ = ask("/config", method="POST", data=b"x")
    assert status == 405
    assert headers["Allow"] == "GET,HEAD"


def test_nothing_is_to_be_kept_by_caches(ask):
    assert ask("/readyz")[1]["Cache-Control"] == "no-store"


def test_a_long_head_is_refused(ask):
    assert ask("/livez", headers={"X-Long": "x" * 20_000})[0] == 400


def test_a_port_that_is_taken_is_an_os_error(source):
    async def story():
        first = AdminServer(Address("127.0.0.1", 0), source)
        address = await first.start()
        second = AdminServer(address, source)
        try:
            with pytest.raises(OSError, match="address already in use"):
                await second.start()
            await second.stop()
        finally:
            await first.stop()
            await first.stop()

    asyncio.run(story())


def test_a_stopped_server_listens_no_more(source):
    async def story():
        server = AdminServer(Address("127.0.0.1", 0), source)
        address = await server.start()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address.host, address.port)

    asyncio.run(story())
