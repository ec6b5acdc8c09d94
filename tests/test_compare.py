"""`python -m ladagan_tf.compare`: runs in one page, or a run's own page again."""

import pytest
from in_process import command, error_line

from ladagan_tf import compare
from ladagan_tf.flags import compare as compare_flags
from ladagan_tf.locks import locked


@pytest.fixture
def main(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags.cfg").write_text(f"--g_lr={name}\n")
    (tmp_path / "linked").symlink_to("b")
    with command(compare, compare_flags.define, compare_flags.parse) as call:
        yield call


def test_runs_are_words_or_a_flag(main, tmp_path, capsys):
    main("a", "b")
    both = (tmp_path / "compare.html").read_text()
    assert "<title>a, b - " in both
    main("--runs=a,b", "--out=deep/page.html")
    assert (tmp_path / "deep" / "page.html").read_text().count("<td>") == both.count("<td>")
    assert capsys.readouterr().out == "compare.html: 2 runs\ndeep/page.html: 2 runs\n"


def test_a_run_alone_gets_its_own_files_again(main, tmp_path, capsys):
    main("a/")
    assert capsys.readouterr().out == "a: report.html\n"
    assert not (tmp_path / "compare.html").exists()
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"flags.cfg", "report.html"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "runs: give one or more run directories"),
        (["a", "nowhere"], "runs=nowhere: there is no such folder"),
        (["a", "."], "runs=.: no flags.cfg in it, so it is not a run"),
        (["a", "b", "b/../a/"], "runs=b/../a/: it is the same run as a; give each once"),
        (["a", "a"], "runs=a: it is the same run as a"),
        (["b", "linked"], "runs=linked: it is the same run as b"),
        (["a", "--out=x.pdf"], "out=x.pdf: give a file ending in .html"),
        (["a", "--out=a/flags.cfg/x.html"], "out=a/flags.cfg/x.html: it cannot be written"),
    ],
)
def test_what_cannot_be_shown_is_one_line(main, capsys, tmp_path, arguments, message):
    before = sorted(tmp_path.rglob("*"))
    assert message in error_line(main, arguments, capsys)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_is_being_trained_is_left_alone(main, capsys, tmp_path):
    with locked(tmp_path / "a", "run_dir", inside=True):
        assert "is writing there" in error_line(main, ["a"], capsys)
