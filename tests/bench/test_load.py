"""What wrk is told, and what is read out of what it tells."""

import pytest

from bench.load import Load, paths, read_output, write_script
from bench.rules import NUMBERS, allowed_numbers, denied_numbers

OUTPUT = """Running 1s test @ http://127.0.0.1:7780
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   640.00us  120.00us   3.10ms   88.00%
76030 requests in 2.00s, 30.00MB read
Requests/sec:  38015.00

RESULT {"requests":76030,"microseconds":2000000,"bytes":31457280,"errors":3,"p50":640,"p90":900,"p99":1390,"max":3100}
"""


def test_the_result_line_of_wrk_is_found_among_its_own_words():
    counted = read_output(OUTPUT)

    assert (counted.requests, counted.errors, counted.p50, counted.p99) == (76030, 3, 640, 1390)
    assert counted.requests_per_second == 38015.0


def test_an_output_without_a_result_is_told_with_what_wrk_said():
    with pytest.raises(ValueError, match="unable to connect"):
        read_output("unable to connect to 127.0.0.1:1 Connection refused\n")


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5])
def test_the_share_of_denied_numbers_is_as_asked(share):
    denied = {number.removeprefix("+") for number in denied_numbers(NUMBERS)}

    sent = [path.partition("Dialed=%2B")[2].partition("&")[0] for path in paths(share)]

    assert len(sent) == NUMBERS
    assert share * NUMBERS == sum(number in denied for number in sent)


def test_allowed_and_denied_numbers_have_nothing_in_common():
    assert not set(allowed_numbers()) & set(denied_numbers(NUMBERS))


def test_the_script_names_its_requests_and_the_headers_of_its_load(tmp_path):
    script = write_script(Load(64, close=True, distinct=True), tmp_path).read_text()

    assert '["Connection"]="close"' in script
    assert '["X-Answer"]="distinct"' in script
    assert str(tmp_path / "close-distinct-0.00.txt") in script
    assert len((tmp_path / "close-distinct-0.00.txt").read_text().splitlines()) == NUMBERS
