"""Seeds as users write them, and walks between latents."""

import re

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds, walks


def test_seeds_are_lists_and_ranges():
    assert walks.parse_seeds("0-3,70, 5 - 5,2") == [0, 1, 2, 3, 70, 5, 2]
    assert walks.parse_seeds(str(seeds.MAX_SEED)) == [seeds.MAX_SEED]


@pytest.mark.parametrize(
    "text", ["", "3-1", "a", "-1", "1,,2", "1-2-3", str(2**63), "1.5", "9" * 5000]
)
def test_other_seeds_are_one_line(text):
    with pytest.raises(InputError, match="is no seed or range; write 0-63,70"):
        walks.parse_seeds(text)


@pytest.mark.parametrize("text", ["", "8", "0x3", "2x-1", "2x" + "9" * 5000])
def test_other_grids_are_one_line(text):
    with pytest.raises(InputError, match=r"give rows and columns, as 8x8|^grid=2x9"):
        walks.parse_grid(text)


NAMES = ("flags", "Food-Drink", "crane, bird", "crane, machine", "3")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("flags", [0]),
        ("food-drink,FLAGS,1", [1, 0, 1]),
        ("bird", [2]),
        ("crane, machine", [3]),  # as a shell hands it on in quotes
        ("3", [3]),  # a number, although class 4 is called so
    ],
)
def test_classes_have_numbers_names_and_words_of_names(text, numbers):
    entries = [text] if ", " in text else text.split(",")
    assert walks.parse_classes(entries, 5, NAMES) == numbers
    assert walks.parse_classes(None, 5, NAMES) == [0, 1, 2, 3, 4]


def test_an_accent_is_the_same_in_both_of_its_spellings():
    names = ("Café, bar", "Cafe\u0301s")  # the second as a folder of macOS
    for text, number in (("cafe\u0301", 0), ("café", 0), ("CAFÉS", 1), ("cafés", 1)):
        assert walks.parse_classes([text], 2, names) == [number]


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (
            "flag",
            NAMES,
            "classes=flag: did you mean flags? give numbers from 0 to 4, or names such",
        ),
        ("crane", NAMES, "classes=crane: 2 classes are called so, give a number of [2, 3]"),
        ("5", NAMES, "classes=5: give numbers from 0 to 4, or names such as flags, Food-Drink, cr"),
        ("9" * 5000, NAMES, "give numbers from 0 to 4"),
        ("flags", (), "classes=flags: give numbers from 0 to 4"),
        ("", NAMES, "classes=: give numbers from 0 to 4"),
    ],
)
def test_other_classes_are_one_line(text, names, message):
    with pytest.raises(InputError, match=re.escape(message)):
        walks.parse_classes([text], 5, names)


def test_absurdly_many_seeds_are_refused_before_they_fill_the_memory():
    with pytest.raises(InputError, match="at most 10,000,000"):
        walks.parse_seeds(f"0-{2**62}")


@pytest.mark.parametrize("how", ["linear", "spherical"])
def test_a_walk_passes_through_every_latent_and_closes_smoothly(how):
    z = seeds.latents(range(4), 64)
    path = walks.walk(z, 10, how)
    assert path.shape == (40, 64) and path.dtype == np.float32
    np.testing.assert_allclose(path[::10], z, rtol=1e-5, atol=1e-6)
    # What follows the last latent is the first: every step within a pair is equally long.
    steps = np.linalg.norm(np.roll(path, -1, axis=0) - path, axis=1).reshape(4, 10)
    assert np.all(steps > 0) and np.all(np.ptp(steps, axis=1) < 0.15 * steps.mean(axis=1))


def test_a_spherical_walk_keeps_the_length_that_a_linear_one_loses():
    z = seeds.latents(range(2), 128)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    lengths = [np.linalg.norm(walks.walk(z, 16, how), axis=1) for how in ("spherical", "linear")]
    np.testing.assert_allclose(lengths[0], 1.0, rtol=1e-5, atol=1e-6)
    assert np.min(lengths[1]) < 0.9


def test_a_spherical_walk_between_equal_latents_stays_there():
    z = seeds.latents([3, 3], 16)
    np.testing.assert_allclose(walks.walk(z, 4), np.repeat(z[:1], 8, 0), rtol=1e-5, atol=1e-6)
