"""Flagfiles: those that ship are found by name from anywhere, and a file's lines take its place."""

import pathlib

import pytest

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expanded(*words):
    return flagfiles.expanded(["train", *words])[1:]


def test_every_config_of_the_repository_ships_and_can_be_read_from_anywhere(elsewhere):
    files = ROOT.glob("configs/**/*.cfg")
    assert flagfiles.names() == sorted(
        str(p.relative_to(ROOT / "configs").with_suffix("")) for p in files
    )
    for name in flagfiles.names():
        lines = expanded(f"--config={name}")
        assert lines and all(line.startswith("--") for line in lines), name
        assert not [line for line in lines if line.startswith(("--flagfile", "--config"))], name


def test_a_config_means_the_same_by_name_and_by_path(elsewhere):
    by_path = expanded(f"--flagfile={ROOT / 'configs/ffhq256.cfg'}")
    assert expanded("--config=ffhq256") == expanded("-config", "ffhq256") == by_path
    assert "--preset=ffhq_256" in by_path and "--beta1=0.5" in by_path  # of lada_base


def test_a_config_s_own_files_are_those_that_ship_whatever_lies_here(elsewhere):
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "lada_base.cfg").write_text("--g_lr=9")
    assert "--g_lr=9" not in expanded("--config=cifar10")
    assert expanded("--flagfile=configs/lada_base.cfg") == ["--g_lr=9"]


def test_lines_take_the_place_of_their_file(elsewhere):
    (elsewhere / "inner.cfg").write_text("\ufeff--b=2\n")  # as editors of Windows begin it
    (elsewhere / "outer.cfg").write_text(
        "# why\n\n--a=1\n  --flagfile=inner.cfg\n// too\n--c=x y\n"
    )
    words = ["--first", "--flagfile", "outer.cfg", "--last", "--", "--flagfile=none.cfg"]
    assert expanded(*words) == [
        "--first", "--a=1", "--b=2", "--c=x y", "--last", "--", "--flagfile=none.cfg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--config=cifar", "--config=cifar: no such config ships, and there is no such file; did "),
        ("--config=.", "--config=.: no such config ships, and that is a folder; train --config="),
        ("--config=", "--config=: no such config ships, and there is no such file; train "),
        ("--config=zzz", "--config=zzz: .* train --config=list lists those that ship$"),
        ("--flagfile=configs/cifar10.cfg", "--flagfile=.*: there is no such file here; give --con"),
        ("--flagfile=cifar10", "--flagfile=cifar10: .*; give --config=cifar10$"),
        ("--flagfile=flags/train.py", "--flagfile=flags/train.py: No such file or directory$"),
        ("--flagfile=none.cfg", "--flagfile=none.cfg: No such file or directory$"),
        ("--flagfile=.", "--flagfile=.: Is a directory$"),
        ("--flagfile", "--flagfile=: give a file$"),
        ("--flagfile=~nobody-here/a.cfg", "--flagfile=~nobody-here/a.cfg: No such file or dir"),
        ("--flagfile=round.cfg", "--flagfile=round.cfg: it includes itself$"),
        ("--flagfile=binary.cfg", "--flagfile=binary.cfg: it is no text in UTF-8 "),
    ],
)
def test_what_cannot_be_read_is_one_line(elsewhere, word, message):
    (elsewhere / "round.cfg").write_text("--flagfile=round.cfg")
    (elsewhere / "binary.cfg").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=message):
        expanded(word)


def test_files_of_a_command_line_are_found_in_every_spelling():
    words = ["train.py", "--flagfile=a.cfg", "--seed=1", "-flagfile", "b.cfg", "--config=cifar10"]
    assert [*map(str, flagfiles.paths(words))] == [
        "a.cfg",
        "b.cfg",
        str(flagfiles.CONFIGS / "cifar10.cfg"),
    ]
    assert flagfiles.given(["train.py", "--flagfile"]) == [(1, "flagfile", "", 3)]


def test_every_config_is_listed_with_what_it_is():
    lines = flagfiles.listing().splitlines()
    assert [line.split()[0] for line in lines] == flagfiles.names()
    assert "cifar10               LadaGAN on CIFAR-10, 32 px." in lines
    assert all(len(line.split()) > 4 for line in lines)
