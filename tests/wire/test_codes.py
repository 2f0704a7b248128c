"""Result codes and their sentences."""

from interceptor.wire import codes
from interceptor.wire.codes import Code, Side

CODES_OF_THE_REFERENCE = {200, 300, 301, 302, 303, 304, 305, 306, 307, 401, 402, 501, 601, 701, 702, 703}


def test_every_code_of_the_reference_and_every_one_of_ours_has_a_sentence():
    assert CODES_OF_THE_REFERENCE | set(range(901, 908)) == set(codes.MEANINGS) == set(Code)


def test_sentences_are_the_wire_text_with_the_gaps_filled_in():
    assert codes.sentence(300, "x") == "Error occured during parsing message: 'x'"
    assert codes.sentence(402, "1099", "Busy") == "Call connect to '1099' failed with result state 'Busy'"
    assert codes.sentence(200) == "Command successfully executed"


def test_fills_are_put_in_as_they_are():
    assert codes.sentence(302, "{1}", "{0}") == "Missing or invalid parameter '{1}' for command '{0}'"


def test_a_gap_without_a_fill_stays_empty_and_an_unknown_code_has_no_sentence():
    assert codes.sentence(601) == "Call not found with ID ''"
    assert codes.sentence(999) == ""


def test_our_own_codes_begin_at_900_and_carry_the_exchange():
    for code, meaning in codes.MEANINGS.items():
        assert codes.is_ours(code) == (meaning.side is Side.INTERCEPTOR)
        if codes.is_ours(code):
            assert "ex-7" in codes.sentence(code, "ex-7")
