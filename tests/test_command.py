"""Command lines: what is wrong with them in one line, and what a flagfile takes back."""

import importlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import keras
import matplotlib
import pytest
from absl import flags
from in_process import command

from ladagan_tf import command as prologue
from ladagan_tf import generate
from ladagan_tf.__main__ import commands
from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, new_folder
from ladagan_tf.flags import common
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.locks import locked
from ladagan_tf.models import registered
from ladagan_tf.stopping import SIGNALS

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture
def defined():
    """The flags of `generate`."""
    with command(generate, generate_flags.define):
        flags.FLAGS.unparse_flags()
        yield


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--batch_sise=3", "--batch_sise: there is no such flag; did you mean --batch_size?"),
        ("--zzz", "--zzz: there is no such flag; --help lists all flags"),
        ("--batch_size=x", "--batch_size=x: give a whole number, as 16"),
        ("--batch_size=1e3", "--batch_size=1e3: give a whole number, as 16"),
        ("--frames=99999999999999999999", "--frames=99999999999999999999: it must be below"),
        ("--fps=0,5", "--fps=0,5: give a number, as 0.5"),
        ("--fps=a\nb", "--fps=a b: give a number, as 0.5"),
        ("--fps=-1", "--fps=-1: give a number >= 0.1"),
        ("--interpolate=maybe", "--interpolate=maybe: give true or false"),
        ("--noema=x", "--noema=x does not take an argument"),
        ("--out=", "--out=: it is empty; give a value, or leave the flag out"),
        ("--model=", "--model=: it is empty; give a value, or leave the flag out"),
        ("--frames=0", "--frames=0: give a positive integer"),
        ("--batch_size=0", "--batch_size=0: give an integer in the range [1, 65536]"),
        ("--interpolation=cubic", "--interpolation=cubic: value should be one of "),
        ("--out=~nobody-of-that-name/a", "--out=~nobody-of-that-name/a: ~nobody-of-that-name is "),
        ("--fps=nan", "--fps=nan: it must be a finite number"),
        ("--fps=1e999", "--fps=inf: it must be a finite number"),
        ("--run_dir=r\udcfc", r"--run_dir=r\udcfc: such a name must be UTF-8"),
        ("--flagfile=none.cfg", "--flagfile=none.cfg: No such file or directory"),
        ("--config=cifar10", "--config=cifar10: there is no such flag here; it is for train and "),
    ],
)
def test_a_mistake_is_one_line_that_names_the_flag(defined, word, message):
    with pytest.raises(InputError) as refused:
        common.read_flags(["generate", word])
    assert str(refused.value).startswith(message) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("generate", "batch_size"),
        ("evaluate", "batch_size"),
        ("evaluate", "repeats"),
        ("serve", "max_batch"),
        ("prepare", "encode_batch"),
        ("train", "grid"),
        ("train", "virtual_cpus"),
        ("train", "measure_seconds"),
        ("train", "total_kimg"),
    ],
)
def test_what_takes_memory_or_time_for_a_number_has_a_bound(verb, name):
    module = importlib.import_module(f"ladagan_tf.flags.{verb}")
    said = f"--{name}=9000000000000: give a"
    with command(module, module.define), pytest.raises(InputError, match=re.escape(said)):
        common.read_flags([verb, f"--{name}=9000000000000"])


@pytest.mark.parametrize("verb", commands())
def test_a_flag_that_is_required_says_what_for(verb):
    """Of those that absl checks: the others have lines of their own."""
    module = importlib.import_module(f"ladagan_tf.flags.{verb}")
    with command(module, module.define):
        try:
            common.read_flags([verb])
        except InputError as error:
            assert re.fullmatch(r"--[a-z_]+ is required: [A-Z][^\n]{5,90}", str(error))


def test_a_home_folder_is_meant_wherever_a_path_begins(defined, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    common.read_flags(["generate", "--model=~/m.keras", "--out=~", "--vae=sd:~/a~b", "--seeds=1"])
    values = flags.FLAGS
    assert (values.model, values.out) == (f"{tmp_path}/m.keras", str(tmp_path))
    assert (values.vae, values.seeds) == (f"sd:{tmp_path}/a~b", "1")
    (tmp_path / "f.cfg").write_text("--batch_size=1\n--run_dir=~/r")
    argv = ["generate", "--out=~/x", f"--flagfile={tmp_path}/f.cfg"]
    common.read_flags(argv)
    assert values.run_dir == f"{tmp_path}/r" and prologue.overridden(argv) == []


def test_what_no_name_can_hold_is_refused(defined, tmp_path):
    (tmp_path / "f.cfg").write_text("--out=a\0b.png\n")
    with pytest.raises(InputError, match=r"^--out=a/a/.* 2,000 folders; at most 250 are accepted$"):
        common.read_flags(["generate", "--out=" + "a/" * 2000])
    with pytest.raises(InputError, match=r"^--out=a.*b.png: it holds a NUL character$"):
        common.read_flags(["generate", f"--flagfile={tmp_path}/f.cfg"])
    for end in ("\n", "\r", "\n--seed=5", "\x85b", "\u2028b"):  # a run's flags.cfg has lines
        with pytest.raises(InputError, match=r"^--out=a.*: it holds a line break$"):
            common.read_flags(["generate", f"--out=a{end}"])


@pytest.mark.parametrize("backend", ["jax", "none\nsuch"])
def test_commands_run_under_tensorflow_whatever_keras_is_told(monkeypatch, capsys, backend):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("MATPLOTLIBRC", "of-the-user")
    prologue._choose_tensorflow()
    assert os.environ["MPLBACKEND"] == "agg"
    assert matplotlib.matplotlib_fname() == os.devnull  # which has no settings
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: KERAS_BACKEND=") and line.endswith("run under tensorflow")


def test_keras_is_as_the_networks_need_it_whatever_its_settings_say():
    keras.config.set_floatx("float64")
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ImportError, match=r"image_data_format='channels_first'"):
            importlib.reload(registered)
        prologue._import_libraries()
        assert keras.config.floatx() == "float32"
        assert keras.config.image_data_format() == "channels_last"
        importlib.reload(registered)
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")


def test_a_closed_stream_ends_no_command(tmp_path):
    for closed in ("<&- >&-", "2>&-"):
        command = f"{sys.executable} -m ladagan_tf generate --out={tmp_path}/a.png --sedes=1"
        done = subprocess.run(f"{command} {closed}", shell=True, capture_output=True, cwd=ROOT)
        assert done.returncode == 2, done.stderr


def test_no_file_gets_the_number_of_a_closed_stream(tmp_path):
    """What TensorFlow logs would land in it."""
    script = (
        "import os, sys\n"
        "from ladagan_tf import command\n"
        "command.fill_closed_streams()\n"
        f"file = open({str(tmp_path / 'a.txt')!r}, 'w')\n"
        "os.system('echo lost >&2')\n"
        "print(file.fileno() > 2, file=file)\n"
        "print('lost too'), print('lost', file=sys.stderr)\n"
    )
    done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{script}" <&- >&- 2>&-'], cwd=ROOT)
    assert done.returncode == 0 and (tmp_path / "a.txt").read_text() == "True\n"


@pytest.mark.parametrize("given", ["--flagfile=FILE", "--flagfile FILE"])
def test_what_a_later_flagfile_takes_back_is_named(defined, tmp_path, given):
    file = tmp_path / "some.cfg"
    file.write_text("--batch_size=8\n--fps=20\n")
    words = given.replace("FILE", str(file)).split()
    argv = ["generate", "--batch_size=4", "--fps=20.0", "--seeds=3", *words, "--fps=10"]
    common.read_flags(argv)
    (line,) = prologue.overridden(argv)  # not fps: it is what was asked for last
    assert line.startswith("--batch_size=4 has no effect: --batch_size=8 of --flagfile=")
    assert prologue.overridden(["generate", *words, "--batch_size=4"]) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch_size", "4"], "--batch_size has no effect: --batch_size=8 of --flagfile="),
        (["--noema"], "--noema has no effect: --ema=True of --flagfile="),
        (["--interpolate"], "--interpolate has no effect: --interpolate=False of --flagfile="),
        (["--classes=1,2"], "--classes=1,2 has no effect: --classes=3,4 of --flagfile="),
        (["--ema", "--nointerpolate", "--classes=3,4"], None),
    ],
)
def test_so_is_what_it_takes_back_of_switches_lists_and_values_in_words_of_their_own(
    defined, tmp_path, words, said
):
    file = tmp_path / "some.cfg"
    file.write_text("--batch_size=8\n--ema\n--nointerpolate\n--classes=3,4\n")
    argv = ["generate", *words, f"--flagfile={file}"]
    common.read_flags(argv)
    lines = prologue.overridden(argv)
    assert [line.partition(str(file))[0] for line in lines] == ([said] if said else [])


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word():
    script = (
        "from ladagan_tf.errors import one_line_errors\n"
        "with one_line_errors():\n"
        "    while True: print('more')\n"
    )
    piped = f'set -o pipefail; {sys.executable} -c "{script}" | head -1'
    done = subprocess.run(["bash", "-c", piped], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (141, "more\n", "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_nothing_half_written(number, tmp_path, capsys):
    before = [signal.getsignal(n) for n in SIGNALS]

    def main():
        with locked(tmp_path / "out"), new_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            with atomic_path(tmp_path / "a.gif"):
                signal.raise_signal(number)

    with pytest.raises(SystemExit) as stopped:
        prologue.run(main)
    assert stopped.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {number.name}\n"
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(n) for n in SIGNALS] == before


def test_ctrl_c_during_imports_is_one_line_and_what_is_ignored_stays_so(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGINT)
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        prologue._end_quietly()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        signal.signal(signal.SIGINT, signal.default_int_handler)
        prologue._end_quietly()
        for act in (signal.raise_signal, lambda n: prologue.run(lambda: signal.raise_signal(n))):
            with pytest.raises(SystemExit) as stopped:
                act(signal.SIGINT)
            assert stopped.value.code == 130
            assert capsys.readouterr().err == "stopped by SIGINT\n"
    finally:
        signal.signal(signal.SIGINT, before)
