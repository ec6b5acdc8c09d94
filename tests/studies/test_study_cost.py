"""`study --cost`: rows of what configs cost on this machine, measured or estimated, on a page."""

import json
import time

import pytest
from in_process import command, error_line
from in_process import outcome as exit_of

from ladagan_tf import flagfiles, study, train
from ladagan_tf.errors import InputError
from ladagan_tf.flags import study as study_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.studies import cost, running

TINY = [
    "--g_widths=8,8,8", "--g_heads=2,2,2", "--g_mlp_widths=4,4,4", "--noise_dim=8",
    "--d_widths=4,8", "--d_heads=2", "--d_mlp_width=4", "--d_out_widths=4,4", "--r1_weight=0",
    "--nod_ladaformer", "--policy=",
    "--batch_size=2", "--dataset=none",
]  # fmt: skip
LINE = {
    "batch_size": 4, "precision": "float32", "multiply_adds_per_image": 2 * 10**9,
    "estimated_gb": 3.0, "free_gb": 8.0,
}  # fmt: skip
# Stands in for `train --measure_seconds`: by the config, it measures, lacks memory, hangs or fails.
FAKE = f"""
import json, sys, time
name = sys.argv[1].partition("=")[2]
line = {LINE}
if name == "cifar10":
    sys.exit("error: --g_widths=1: give more")
print(json.dumps(line), flush=True)
if name == "celeba64":
    time.sleep(60)
if name == "quickstart":
    print(json.dumps(line | {{"seconds_per_step": 0.5, "cpu_peak_gb": 1.25}}))
"""


@pytest.fixture
def call(monkeypatch):
    monkeypatch.setattr(running.Programs, "__init__", lambda self: None)
    monkeypatch.setattr(running.Programs, "train", ("-c", FAKE))
    with command(study, study_flags.define) as call:
        yield call


def rows_of(path):
    lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0][2:]: line.strip("| ").split(" | ")[1:] for line in lines}


def test_what_fits_is_measured_and_what_does_not_is_estimated_at_the_same_rate(call, tmp_path):
    flags = ["--cost", f"--out={tmp_path}", "--cost_seconds=1.5"]
    status, said, error = exit_of(
        call, [*flags, "--configs=quickstart,celeba64,cifar10,gat_xl2_imagenet512"]
    )
    assert status == 2 and error == "error: cifar10: --g_widths=1: give more\n"
    assert "3 of 4: cifar10: --g_widths=1: give more" in said
    rows = rows_of(tmp_path / "hardware.md")
    assert list(rows) == ["config", "celeba64", "gat_xl2_imagenet512", "quickstart"]
    assert rows["quickstart"][:6] == [
        "4", "float32", "500 ms **m**", "125 ms **m**", "1.25 GB **m**, 3 GB **e**", "2 G",
    ]  # fmt: skip
    for name in ("celeba64", "gat_xl2_imagenet512"):  # 8 G multiply-adds in half a second
        assert rows[name][2:5] == ["500 ms **e**", "125 ms **e**", "3 GB **e**"]
    assert rows["celeba64"][-1] == cost.PAPERS["celeba64"]


def test_the_day_of_a_row_is_that_of_utc_as_in_a_run_s_environment(call, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(cost, "measure_all", lambda *given: titles.append(given[2]) or [])
    utc = time.gmtime()
    monkeypatch.setenv("TZ", "A-14" if utc.tm_hour >= 12 else "A+13")  # where it is another day
    time.tzset()
    try:
        call("--cost", f"--out={tmp_path}", "--configs=quickstart")
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert titles[0].endswith(time.strftime(", %Y-%m-%d", utc))


def test_rows_of_another_machine_or_day_stay_and_those_of_this_are_replaced():
    row = ("a", "1", "float32", "1 s **m**", "1 s **m**", "1 GB **m**", "1 G", "-")
    page = cost.joined("", "one, 2026-01-01", [row, ("b", *row[1:])])
    page = cost.joined(page, "two, 2026-01-01", [row])
    again = cost.joined(page, "one, 2026-01-01", [("a", "2", *row[2:])])
    assert again.startswith(cost.HEAD.strip()) and again.count("## ") == 2
    two, one = again.split("## ")[1:]
    assert two.startswith("two, 2026-01-01\n") and "| a | 1 | float32 |" in two
    assert "| a | 2 |" in one and "| a | 1 |" not in one and "| b | 1 |" in one
    assert cost.joined(again, "one, 2026-01-01", []) == again


def test_a_stop_keeps_the_rows_that_are_done(tmp_path):
    said, path = [], tmp_path / "hardware.md"
    names = ["quickstart", "celeba64", "quickstart"]
    program = ("-c", FAKE)
    failures = cost.measure_all(names, path, "here", program, 60, said.append, lambda: bool(said))
    assert not failures and said == [
        "1 of 3: quickstart: 500 ms **m** a step, 1.25 GB **m**, 3 GB **e**"
    ]
    assert list(rows_of(path)) == ["config", "quickstart"]


def test_a_tiny_config_is_measured(capsys, eagerly):
    with command(train, train_flags.define) as call:
        call(*TINY, "--measure_seconds=0.01", "--strategy=none", "--run_dir=none")
    first, second = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert first.items() < second.items() and second["seconds_per_step"] > 0.0
    assert first["batch_size"] == 2 and first["estimated_gb"] > 0.0 < second["cpu_peak_gb"]


def test_networks_that_memory_does_not_suffice_for_are_not_built(capsys, monkeypatch):
    monkeypatch.setattr(train, "device_memory", lambda: 10**9)
    with command(train, train_flags.define) as call:
        call(
            "--config=gat_xl2_imagenet256",
            "--measure_seconds=1",
            "--strategy=none",
            "--run_dir=none",
        )
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    # Weights, slots, average and gradients of 602 and 468 M parameters alone are 22 GB.
    assert line["estimated_gb"] > 22.0 and line["free_gb"] == 1.0
    assert "seconds_per_step" not in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--study is required: A study that ships"),
        ("--study=studies/cat", "--base is required: "),
        ("--cost --seeds=1", "--seeds=1: not with --cost"),
        ("--cost_seconds=5 --study=a --base=b", "--cost_seconds=5.0: it needs --cost"),
        ("--study=a --base=b --diverged_factor=5", "--diverged_factor=5.0: it needs --lr_scales"),
        ("--cost --cost_seconds=0", "--cost_seconds=0: it must be greater than 0"),
        ("--cost --configs=nobody", "--configs=nobody: no such config ships"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(call, capsys, tmp_path, flags, said):
    assert error_line(call, flags.split(), capsys).startswith(f"error: {said}")


def test_every_config_that_is_a_run_by_itself_is_measured():
    names = cost.experiments()
    assert {"cifar10", "gat_xl2_imagenet512", "flow_tiny_emoji", "cat_tiny_emoji"} <= set(names)
    assert set(cost.PAPERS) <= set(names) <= set(flagfiles.names()) and "gat_base" not in names


def test_a_process_that_says_nothing_in_its_time_is_told_of():
    with pytest.raises(InputError, match=r"cifar10: not even estimated in 0\.3 s; give more"):
        cost.measured("cifar10", ("-c", "import time; time.sleep(60)"), 0.3)
