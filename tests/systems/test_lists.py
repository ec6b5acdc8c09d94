"""Lists of numbers from flags: what all of them refuse."""

import pytest
from absl import flags

from ladagan_tf import systems
from ladagan_tf.errors import InputError
from ladagan_tf.flags.common import sigma_rels


@pytest.fixture
def given(monkeypatch):
    """Sets a list flag --list to a text."""
    values = flags.FlagValues()
    flags.DEFINE_list("list", None, "", flag_values=values)
    values.mark_as_parsed()
    monkeypatch.setattr(systems, "FLAGS", values)
    return lambda text: setattr(values["list"], "value", values["list"].parser.parse(text))


def test_numbers_are_read_in_their_order(given):
    given("2, 0.5,1e3")
    assert systems.listed("list", float, "numbers", distinct=True) == (2.0, 0.5, 1000.0)
    given("")
    assert systems.listed("list", int, "integers") == ()
    given("0.1,0.05,0.1")
    assert sigma_rels("list") == [0.1, 0.05]


@pytest.mark.parametrize("text", ["x", "1,,2", "nan", "inf,1", "-inf", "-1", ""])
@pytest.mark.parametrize("kind", [int, float])
def test_what_is_no_such_number_and_no_number_at_all_are_one_line(given, text, kind):
    given(text)
    with pytest.raises(InputError, match=f"^--list={text}: give numbers, as 1,2$"):
        systems.listed("list", kind, "numbers, as 1,2", lambda value: value >= 0, some=True)


def test_a_number_that_comes_twice_is_one_line(given):
    given("1,1.0")
    with pytest.raises(InputError, match=r"^--list=1,1.0: give each of them once$"):
        systems.listed("list", float, "numbers", distinct=True)


@pytest.mark.parametrize("text", ["", "0.3", "0", "1e-200", "-0.1", "nan", "0.1,x"])
def test_lengths_that_no_profile_has_are_one_line(given, text):
    given(text)
    with pytest.raises(InputError, match=r"^--list=.*: give .*, as 0\.05,0\.1$"):
        sigma_rels("list")
