"""The corpus of request-smuggling cases: what is refused, what is read, and what the back end gets to see of it.

A case is a file: a note, ten dashes, the bytes (escaped; line ends of the file mean nothing), ten dashes, what is
expected. ``reads METHOD TARGET BODY`` and the header lines that it ``forwards``, for each request in order, and
``refused REASON`` where the stream ends in a refusal.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fuzz import oracle
from interceptor.gateway.http1 import RequestReader
from interceptor.gateway.http1_error import REASONS, Http1Error
from interceptor.metrics.families import REFUSAL_REASONS
from tests.gateway.harness import ALLOW_ALL, Backend, Client, Loop, Proxy, answering, settings_for

FOLDER = Path(__file__).parent / "smuggling"
HEAD_MOST, BODY_MOST = 16 << 10, 1 << 20
STATUS = {"bad_version": 505, "bad_expectation": 417, "body_too_large": 413}


class Case(NamedTuple):
    name: str
    note: str
    data: bytes
    expected: tuple[str, ...]

    @property
    def reads(self) -> int:
        return sum(line.startswith("reads ") for line in self.expected)

    @property
    def reason(self) -> str:
        return self.expected[-1].removeprefix("refused ") if self.expected[-1].startswith("refused ") else ""


def unescaped(text: str) -> bytes:
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def written(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def load(path: Path) -> Case:
    note, data, expected = path.read_text("ascii").split("\n----------\n")
    return Case(path.stem, note, unescaped(data.replace("\n", "")), tuple(expected.splitlines()))


# The first byte of a connection cannot begin a request, so mitmproxy's layers and the addon answer it.
HANDED_OVER = {"line-leading-blank"}
CASES = [load(path) for path in sorted(FOLDER.glob("*.txt"))]
REFUSED = [case for case in CASES if case.reason]
REFUSED_ON_THE_WIRE = [case for case in REFUSED if case.name not in HANDED_OVER]
READ = [case for case in CASES if not case.reason]


def outcome(data: bytes, pieces: int) -> list[str]:
    """What the reader makes of the bytes, in the words of a case."""
    reader = RequestReader(HEAD_MOST, BODY_MOST)
    told: list[str] = []
    size = max(1, -(-len(data) // pieces))
    try:
        for at in range(0, len(data), size):
            reader.push(data[at : at + size])
            while (request := reader.take()) is not None:
                body = request.body
                told.append(f'reads {request.method} {request.target.decode("latin-1")} "{written(body)}"')
                block = request.block
                framed = block.framed(len(body)) if block.chunked or block.length >= 0 else block.forwarded
                told.append(f"forwards {written(framed)}")
    except Http1Error as error:
        assert error.status == STATUS.get(error.reason, 400)
        told.append(f"refused {error.reason}")
    else:
        if reader.unfinished:
            told.append("waits")
    return told


def test_the_corpus_is_there_and_every_case_says_why() -> None:
    assert len(REFUSED) >= 150
    assert len(READ) >= 15
    assert len({case.data for case in CASES}) == len(CASES)
    assert all(case.note.endswith((".", "?")) and "\n" not in case.note for case in CASES)


def test_every_reason_of_a_refused_request_has_a_case() -> None:
    of_replies = {"bad_status_line", "incomplete"}
    of_sizes = {"head_too_large"}
    assert {case.reason for case in REFUSED} == set(REASONS) - of_replies - of_sizes


def test_every_reason_is_a_label_of_the_metrics() -> None:
    assert set(REASONS) <= set(REFUSAL_REASONS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_is_read_as_it_says_however_it_is_cut(case: Case) -> None:
    for pieces in (1, 2, 3, 7, len(case.data)):
        assert list(case.expected) == outcome(case.data, pieces)


@pytest.mark.parametrize("case", READ, ids=lambda case: case.name)
def test_what_is_read_h11_reads_as_the_same_requests(case: Case) -> None:
    assert oracle.disagreement(case.data) == ""
    assert oracle.disagreement_with_llhttp(case.data) == ""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One Interceptor in front of one back end for all cases; a connection each."""
    loop = Loop()
    backend = Backend(loop, answering()).start()
    state = tmp_path_factory.mktemp("smuggling")
    proxy = Proxy(loop, settings_for(state, [backend.port], pass_ambiguous=True), ALLOW_ALL).start()
    yield proxy, backend
    proxy.stop()
    backend.stop()
    loop.close()


def carried(case: Case) -> int:
    """How many requests of a case are messages: GET and POST."""
    return sum(line.startswith(("reads GET ", "reads POST ")) for line in case.expected)


@pytest.mark.parametrize("case", REFUSED_ON_THE_WIRE, ids=lambda case: case.name)
def test_a_refused_case_ends_the_connection_and_nothing_of_it_reaches_the_back_end(running: Any, case: Case) -> None:
    proxy, backend = running
    before = len(backend.requests)
    client: Client = proxy.client()
    client.send(case.data)
    for _ in range(case.reads):
        assert client.read().status == 200
    answer = client.read()
    assert (STATUS.get(case.reason, 400), case.reason.encode()) == (answer.status, answer.body.strip())
    assert answer.headers["connection"] == "close"
    assert client.ended()
    client.close()
    assert carried(case) == len(backend.requests) - before


@pytest.mark.parametrize("case", READ, ids=lambda case: case.name)
def test_a_read_case_reaches_the_back_end_as_the_requests_that_were_read(running: Any, case: Case) -> None:
    proxy, backend = running
    before = len(backend.requests)
    client: Client = proxy.client()
    client.send(case.data)
    for _ in range(case.reads):
        client.read()
    client.close()
    seen = backend.requests[before:]
    read = [line for line in case.expected if line.startswith(("reads GET ", "reads POST "))]
    assert len(read) == len(seen)
    for line, request in zip(read, seen, strict=True):
        theirs = oracle.h11_requests(request)
        assert theirs.refused == ""
        assert [line] == [f'reads {each.start[0]} {each.start[1]} "{written(each.body)}"' for each in theirs.messages]
        assert re.search(rb"(?i)\r\n(transfer-encoding|connection|upgrade|te|trailer|keep-alive) *:", request) is None
