"""A study of recipes on a machine that has a GPU, JAX and no TensorFlow.

    python benchmarks/gpu_study.py --study=configs/studies/recipes_gpu.cfg --commands

prints, for each system of a study, the name of its folder and its flags of gpu_run.py, which trains
its seeds at once. What those runs bring back, in FOLDER/NAME/seed-N, becomes the study's table and
figures:

    python benchmarks/gpu_study.py --study=configs/studies/recipes_gpu.cfg --folder=FOLDER \
        --out=docs/studies/recipes
"""

import json
import os
import pathlib
import shlex
import shutil
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags
from gpu_flags import is_beside

from ladagan_tf import __version__, charts, command, pictures
from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, write_text
from ladagan_tf.flags import study as study_flags
from ladagan_tf.runs import results
from ladagan_tf.runs.environment import revision
from ladagan_tf.studies import outcome, report
from ladagan_tf.studies.collecting import gradients, sizes, traces
from ladagan_tf.study import make_study
from ladagan_tf.systems import refuse

FLAGS = flags.FLAGS
COLUMNS = 10  # of gpu_run.py's sheets
LOWER = {"fcd": True, "precision": False, "recall": False, "coverage": False}


def define():
    """Defines the flags."""
    study_flags.define()
    flags.DEFINE_bool("commands", False, "Only print folders and flags of gpu_run.py.")
    flags.DEFINE_string("folder", None, "What the runs brought back.")


def main():
    """Prints what to run, or collects what ran."""
    refuse(("cost", "dry_run"), "study.py has it, gpu_study.py has not")
    study_flags.check_asked()
    for name in () if FLAGS.commands else ("folder", "out"):
        if FLAGS[name].value is None:
            raise InputError(f"--{name} is required without --commands")
    study = make_study()
    runs = {}
    for run in study.runs:
        runs.setdefault(run.name.rsplit("_seed-", 1)[0], []).append(run)
    if FLAGS.commands:
        for name, seeds in runs.items():
            others = (flag for flag in seeds[0].train if not is_beside(flag))
            given = [flag for flag in others if not flag.startswith("--seed=")]
            given.append(f"--seeds={','.join(str(run.seed) for run in seeds)}")
            print(f"{name}\t{shlex.join(given)}")
        return
    folders = {
        run.name: pathlib.Path(FLAGS.folder) / name / f"seed-{run.seed}"
        for name, seeds in runs.items()
        for run in seeds
    }
    found = [run for run in study.runs if (folders[run.name] / "run.json").is_file()]
    if not found:
        raise InputError(f"--folder={FLAGS.folder}: no run of this study is in it")
    rows = [row(study, run, folders[run.name]) for run in found]
    out = pathlib.Path(FLAGS.out)
    written = report.write(out, study, rows, sys.argv[1:])
    path = out / "over_time.png"
    with atomic_path(path) as temporary:
        temporary.write_bytes(pictures.drawing(over_time(rows)))
    print(f"{report.table(rows)}\n\nwritten: {', '.join(map(str, [*written, path]))}")


def row(study, run, folder):
    """What a run brought back, as a line of results.jsonl; see `studies.collecting`."""
    about = json.loads((folder / "run.json").read_text())
    windows, _ = results.read_stats(folder)
    measured = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    sound = about["parts"] and measured and measured[-1]["kimg"] * 1000 == about["images"]
    networks = {
        ours: about["networks"][theirs]["config"]
        for ours, theirs in (("generator", "averaged"), ("discriminator", "discriminator"))
    }
    lay_out(folder, about)
    metrics = {name: measured[-1][name] for name in LOWER} if sound else {}
    return {
        "study": study.name,
        "system": run.system,
        "axes": run.axes,
        "lr_scale": run.lr_scale,
        "seed": run.seed,
        "arguments": study.arguments(run),
        "run_dir": str(folder),
        "status": outcome.FINISHED if sound else outcome.DIVERGED,
        "message": None if sound else "a weight or a feature is not finite",
        **sizes(json.dumps(networks)),
        "seconds_per_step": about["milliseconds_per_step"] / 1000,
        "jobs": len(list(folder.parent.glob("seed-*"))),  # which a step was of
        "kimg": about["images"] / 1000,
        "metrics": {name: float(f"{value:.6g}") for name, value in metrics.items()},
        "lower_is_better": {name: LOWER[name] for name in metrics},
        "protocol": protocol(about) if sound else None,
        "gradients": gradients(windows),
        "traces": traces(windows),
        "environment": {
            **{name: about[name] for name in ("date", "python", "keras", "numpy", "cpu", "cores")},
            "revision": revision(),
            "ladagan_tf": __version__,
            "tensorflow": f"none, but JAX {about['jax']}",
            "gpus": [about["device"]],
        },
    }


def protocol(about):
    """How gpu_run.py measures, from what it says."""
    return {
        "generated": {"precision": about["flags"]["precision"], "ema": True, "rounding": "uint8"},
        **about["measured"],
        "engine": "ours, float32 features on the device",
    }


def lay_out(folder, about):
    """Places the sheet of samples where `studies.report.samples` finds it."""
    (folder / "samples").mkdir(exist_ok=True)
    sheet = folder / f"samples/samples_{about['images'] / 1000:09.3f}kimg.png"
    shutil.copy(folder / "samples.png", sheet)
    write_text(folder / "flags.cfg", f"--grid={COLUMNS}\n")


def over_time(rows):
    """Distance and share of clipped values over the images seen, a line for each system.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure: lines are means over seeds, bands from the least to the greatest.
    """
    groups = outcome.by_setting(rows)
    figure, panels = charts.panels(2, 2, 4.75, 5.6)
    for axes, file, name in zip(
        panels, ("metrics.jsonl", "stats.jsonl"), ("fcd", "clipped"), strict=True
    ):
        for (setting, part), style in zip(groups.items(), charts.styles(), strict=False):
            kimg, values = series(part, file, name)
            axes.plot(kimg, values.mean(axis=0), label=setting.label, linewidth=1.3, **style)
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(kimg, low, high, color=style["color"], alpha=0.08, linewidth=0)
        axes.set_xlabel("thousand images", fontsize=8)
        charts.plain(axes)
    first, second = panels
    first.set_yscale("log")
    first.set_title("fcd, lower is better", fontsize=8)
    second.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    second.set_title("clipped values of generated images", fontsize=8)
    figure.legend(*first.get_legend_handles_labels(), **{**charts.LEGEND, "ncols": 4})
    return figure


def series(rows, file, name):
    """Moments (T,) and a field of a file at them, (seeds, T), up to where all seeds have one."""
    found = []
    for each in rows:
        lines = (pathlib.Path(each["run_dir"]) / file).read_text().splitlines()
        lines = [json.loads(line) for line in lines]
        found.append([(line["kimg"], line[name]) for line in lines])
    length = min(map(len, found))
    arrays = np.asarray([pairs[:length] for pairs in found], np.float64).reshape(-1, length, 2)
    return arrays[0, :, 0], arrays[:, :, 1]


if __name__ == "__main__":
    command.parse(sys.modules[__name__], study_flags.parse)
    command.run(main)
