"""The table of states: whole, and true to what the reference says of calls."""

from hypothesis import given
from hypothesis import strategies as st

from interceptor.calls.states import PBX_STATES, PRESUMED, TABLE, Cause, Signal, State, Taken, move

SIGNALS = st.sampled_from(Signal)


def test_every_pair_of_state_and_signal_has_an_entry() -> None:
    assert {state: set(row) for state, row in TABLE.items()} == {state: set(Signal) for state in State}


def test_what_stays_is_not_moved_and_what_moves_does_not_stay() -> None:
    for state, row in TABLE.items():
        for found in row.values():
            assert (found.to is state) == (found.taken is not Taken.ONWARD)


def test_nothing_leads_back_to_new() -> None:
    assert [found for row in TABLE.values() for found in row.values() if found.to is State.NEW] == []


def test_all_states_of_the_reference_are_known() -> None:
    reference = "Ringing Answered InCall Hold Transferred Busy Cancelled Completed Error".lower().split()
    assert sorted(PBX_STATES) == sorted(reference)


def test_the_way_of_an_ordinary_call() -> None:
    state = State.NEW
    passed = []
    for signal in (Signal.ASKED, Signal.ACCEPTED, Signal.RANG, Signal.ANSWERED, Signal.HELD, Signal.TALKED):
        state = move(state, None, signal).to
        passed.append(state.value)
    assert passed == ["requested", "routed", "ringing", "connected", "held", "connected"]


@given(signals=st.lists(SIGNALS, max_size=30))
def test_a_told_end_is_never_left(signals: list[Signal]) -> None:
    for signal in signals:
        assert move(State.ENDED, Cause.COMPLETED, signal).to is State.ENDED


@given(cause=st.sampled_from(sorted(PRESUMED, key=str)), signal=SIGNALS)
def test_a_presumed_end_is_taken_back_by_whatever_shows_life(cause: Cause, signal: Signal) -> None:
    goes_on = move(State.ENDED, cause, signal).to is not State.ENDED
    shows_life = {Signal.RANG, Signal.ANSWERED, Signal.TALKED, Signal.HELD, Signal.TRANSFERRED}
    assert goes_on == (signal in shows_life)


@given(signals=st.lists(SIGNALS, max_size=30))
def test_only_a_failed_attempt_leads_back_and_only_before_anybody_picked_up(signals: list[Signal]) -> None:
    rank = [State.NEW, State.REQUESTED, State.ROUTED, State.RINGING]
    state = State.NEW
    for signal in signals:
        found = move(state, None, signal)
        if found.to in rank and found.taken is Taken.ONWARD:
            assert state in rank
            if rank.index(found.to) < rank.index(state):
                assert signal in {Signal.RETRIED, Signal.ROUTED}
        state = found.to
