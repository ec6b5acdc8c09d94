"""What a command line asks to be told: `--help` in groups, versions, configs, every command."""

import importlib
import re
import runpy
import sys

import pytest
from absl import flags
from in_process import command

import ladagan_tf
from ladagan_tf import __version__, flagfiles, generate, train
from ladagan_tf.__main__ import commands, main
from ladagan_tf.errors import DivergenceError, InputError, StoppedError
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.flags import help
from ladagan_tf.flags import train as train_flags


@pytest.fixture
def of_generate():
    """Its flags are defined."""
    with command(generate, generate_flags.define):
        yield


@pytest.fixture
def of_train():
    """Its flags are defined."""
    with command(train, train_flags.define):
        yield


def told(*words, verb=generate_flags):
    return help.answer(verb, "ladagan NAME", ["NAME", *words], "What it is.")


@pytest.mark.parametrize("word", ["-h", "--help", "-help", "--helpshort"])
def test_help_is_asked_for_in_every_usual_way_and_begins_with_what_the_command_is(
    of_generate, word
):
    lines = told("--zzz", word).splitlines()
    assert lines[:3] == ["What it is.", "", "usage: ladagan NAME [--flag=value ...]"]
    assert told("--batch_size=4", "--", word) is None and told("--out=-h") is None


def test_help_has_every_flag_once_in_its_group_with_its_type_limits_and_default(of_generate):
    text = told("-h")
    groups = re.findall(r"^(\w[\w ]+):$", text, re.M)
    assert groups == ["Generator", "Images", "Truncation and guidance", "Sampler", "Picture"]
    for flag in flags.FLAGS.get_key_flags_for_module(generate_flags):
        assert len(re.findall(rf"^  --(\[no\])?{flag.name}(?=[= \n])", text, re.M)) == 1, flag.name
    assert "\n  --fps=X  (from 0.1, default 20)\n      Frames per second.\n" in text
    assert "\n  --interpolation=spherical|linear\n" in text
    assert "\n  --[no]attention  (default off)\n" in text and "--verbosity" not in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_python_without_docstrings_still_has_help(of_generate):
    said = help.answer(generate_flags, "ladagan NAME", ["NAME", "--help"], None)
    assert said.startswith("ladagan NAME\n\nusage: ladagan NAME")


def test_help_all_also_has_what_absl_brings(of_generate):
    lines = told("--help=all").splitlines()
    of_absl = lines[lines.index("Of absl:") :]
    assert any(line.startswith("  --verbosity=N") for line in of_absl)
    assert not any(line.startswith("  --seeds") for line in of_absl)


def test_help_of_cat_marks_what_is_unconfirmed_and_has_what_it_shares_with_gat(of_train):
    cat, gat = (told(f"--system={name}", "-h", verb=train_flags) for name in ("cat", "gat"))
    assert "--d_shape=A,B,...  (unconfirmed)" in cat and "--g_shape=A,B,...\n" in cat
    assert "--r1_weight=X  (default 0.5, unconfirmed)" in cat
    assert "--[no]width_aware_lr  (default off, unconfirmed)" in cat
    assert "--noise_guidance" not in cat and "--[no]noise_guidance" in gat
    assert "--consistency_weight=X" not in gat and "unconfirmed" not in gat


def test_help_of_two_systems_is_that_of_the_chosen_one(of_train, tmp_path):
    (tmp_path / "gat.cfg").write_text("--system=gat")
    lada, gat = (told(*w, "-h", verb=train_flags) for w in ([], ["--system", "gat"]))
    by_file = told(f"--config={tmp_path / 'gat.cfg'}", "-h", verb=train_flags)
    both = told("--help=all", verb=train_flags)
    assert (
        "--g_widths" in lada and "--patch" not in lada and "--batch_size=N  (default 128)" in lada
    )
    assert "--patch" in gat and "--g_widths" not in gat and "--batch_size=N  (default 512)" in gat
    assert by_file == gat and "--g_widths" in both and "--patch" in both


@pytest.mark.parametrize("name", commands())
def test_no_help_text_says_a_default_that_is_shown_beside_it(name):
    module = importlib.import_module(f"ladagan_tf.flags.{name}")
    with command(module, module.define):
        for flag in flags.FLAGS.get_key_flags_for_module(module):
            if flag.default not in (None, "", []):
                assert not re.search(r"by default|\bdefault\)", flag.help), flag.name


def test_version_and_the_configs_are_told(of_train):
    assert told("--version") == told("-h", "--version") == f"ladagan_tf {__version__}"
    for words in (["--config=list"], ["--config", "list", "--seed=1"]):
        assert told(*words, verb=train_flags) == flagfiles.listing()
    assert told("--config=cifar10", verb=train_flags) is None
    for line in flagfiles.listing().splitlines():  # a sentence, without commands
        assert len(line) < 260 and "python -m" not in line, line


def test_every_command_is_listed_with_a_line_and_every_status_with_its_meaning(capsys):
    main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    assert {"generate", "prepare", "train", "evaluate"} <= set(commands())
    for name in commands():
        (line,) = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(line.split()) >= 4 and len(line) < 100
    for status in (0, *(kind.status for kind in (InputError, DivergenceError, StoppedError))):
        assert any(line.startswith(f"  {status} ") for line in lines)
    main(["--version"])
    assert capsys.readouterr().out == f"ladagan_tf {__version__}\n"


def test_a_command_that_there_is_not_is_one_line(capsys):
    for word, hint in (
        ("trian", "did you mean train?"),
        ("x", "give one of average, compare, convert, "),
    ):
        with pytest.raises(SystemExit) as stopped:
            main([word])
        line = capsys.readouterr().err
        assert stopped.value.code == 2 and line.count("\n") == 1
        assert line.startswith(f"error: {word}: there is no such command; {hint}")


@pytest.mark.parametrize(("name", "said"), [
    ("absl", r"error: No module named 'absl'; .*: pip install -r \S+requirements.txt"),
    ("ladagan_tf.none", None),
])  # fmt: skip
def test_a_checkout_whose_packages_are_not_installed_says_how_they_are(
    monkeypatch, capsys, name, said
):
    missing = ModuleNotFoundError(f"No module named {name!r}", name=name)

    def run(*_, **__):
        raise missing

    monkeypatch.setattr(runpy, "run_module", run)
    monkeypatch.setattr(sys, "argv", ["ladagan"])  # which it sets
    with pytest.raises(SystemExit if said else ModuleNotFoundError):
        main(["train"])
    assert re.fullmatch(said or "", capsys.readouterr().err.strip())


def test_on_windows_the_import_says_where_it_runs(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ImportError, match="on Windows run it in WSL"):
        runpy.run_path(ladagan_tf.__file__)
