"""Damaged files of every format: each works or is refused in one line; nothing is written.

`MUTANTS=2000 pytest tests/test_mutations.py`, as CI does, tries more than 15 of each; `python
tests/mutations.py` counts them.
"""

import os
import time

import mutations
import pytest

from ladagan_tf.errors import InputError

MUTANTS = int(os.environ.get("MUTANTS", 15))
# Of what takes longer than a millisecond, a part: (how many of 100, at least so many, how many of
# them are read to the end; where networks would be built or sets read, the others are checked).
PARTS = {
    "keras": (10, 15, 3), "gat.keras": (6, 15, 1), "vae.keras": (6, 15, 4),
    "models.json": (20, 15, 2), "official": (10, 15, 5), "gat.pt": (4, 15, 4),
    "dataset.json": (100, 15, 6), "about.json": (30, 15, 600), "averages": (30, 15, 600),
    "saved_model": (6, 4, 200), "records": (3, 6, 100),
}  # fmt: skip
MOST_SECONDS = 20  # for one file, on a busy machine

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of libraries, about the damage


@pytest.fixture(scope="module")
def formats():
    return mutations.formats()


@pytest.mark.parametrize("name", mutations.NAMES)
def test_damaged_files_work_or_are_refused_in_one_line(formats, name, tmp_path):
    made, work = tmp_path / "example", tmp_path / "work"
    made.mkdir()
    work.mkdir()
    example = formats[name].make(made)
    formats[name].read(example)
    share, least, whole = PARTS.get(name, (100, 15, MUTANTS))
    for number in range(max(MUTANTS * share // 100, least)):
        started = time.monotonic()
        said = formats[name].outcome(example, work, 0, number, build=number < whole)
        assert said in ("works", "builds", "refused"), number
        assert time.monotonic() - started < MOST_SECONDS, number


def test_all_formats_are_tried(formats):
    assert list(formats) == mutations.NAMES


def test_the_same_number_is_the_same_mutant():
    def mutant(number):
        return mutations.damaged(bytes(range(200)), mutations.np.random.default_rng([0, number]))

    assert [mutant(i) for i in range(20)] == [mutant(i) for i in range(20)]
    assert len({mutant(i) for i in range(20)}) > 15


@pytest.mark.parametrize("error", [KeyError("x"), InputError("x")])
def test_only_refusals_pass(tmp_path, error):
    (tmp_path / "a").write_bytes(b"abc")

    def read(path):
        raise error

    tried = mutations.Format(None, read)
    if isinstance(error, InputError):
        assert tried.outcome(tmp_path / "a", tmp_path, 0, 0) == "refused"
    else:
        with pytest.raises(KeyError):
            tried.outcome(tmp_path / "a", tmp_path, 0, 0)


def test_what_is_written_is_noticed(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    tried = mutations.Format(None, lambda path: path.with_name("new").write_bytes(b"x"))
    with pytest.raises(AssertionError, match="something was written"):
        tried.outcome(tmp_path / "a", tmp_path, 0, 0)


def test_a_mutant_has_nothing_of_the_last_one(tmp_path):
    (tmp_path / "a").mkdir()
    for name in "xy":
        (tmp_path / "a" / name).write_bytes(b"abcdefgh")
    seen = []

    def read(folder):
        seen.append(tuple(file.read_bytes() == b"abcdefgh" for file in sorted(folder.iterdir())))

    tried = mutations.Format(None, read)
    for number in range(20):
        tried.outcome(tmp_path / "a", tmp_path, 0, number)
    assert set(seen) - {(True, True)} == {(True, False), (False, True)}
