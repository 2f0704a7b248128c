from interceptor.policy.readings import Readings


def test_what_was_found_for_a_number_is_remembered_and_for_a_long_text_is_not():
    asked = []

    def find(text):
        asked.append(text)
        return (len(text),)

    look = Readings().remembering(find)
    number, long = "+36201234567", "x" * 100_000
    assert [look(number), look(number), look(long), look(long)] == [(12,), (12,), (100_000,), (100_000,)]
    assert asked == [number, long, long]


def test_two_that_look_for_the_same_text_find_their_own():
    readings = Readings()
    one, other = readings.remembering(lambda _: (1,)), readings.remembering(lambda _: (2,))
    assert [one("x"), other("x"), one("x"), other("x")] == [(1,), (2,), (1,), (2,)]


def test_the_memory_of_numbers_is_bounded():
    readings = Readings()
    look = readings.remembering(lambda text: (int(text),))
    assert all(look(str(number)) == (number,) for number in range(40_000))
    assert len(readings._found) <= 16_384
