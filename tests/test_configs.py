"""docs/configs.md says of every config what the config says, and of own sets what `suggest` does.

`python tests/test_configs.py` writes its tables anew.
"""

import contextlib
import io
import json
import pathlib
import re
import sys
import types

import pytest
from absl import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # as a script, too

from in_process import command  # noqa: E402

from ladagan_tf import flagfiles, train  # noqa: E402
from ladagan_tf.cost import lada as cost  # noqa: E402
from ladagan_tf.flags import start as start_flags  # noqa: E402
from ladagan_tf.flags import train as train_flags  # noqa: E402
from ladagan_tf.flags.common import read_flags  # noqa: E402
from ladagan_tf.systems import arguments, lada, suggestion, suggestion_lada  # noqa: E402

PAGE = ROOT / "docs" / "configs.md"
SPEEDS = ROOT / "benchmarks" / "results" / "gpu_h100_2026-11.jsonl"
BASES = ("lada_base", "gat_base", "cat_base")  # no experiments
STUDIES = (
    "studies/shapes32",
    "studies/recipes32",
    "studies/recipes_emoji32",
    "studies/recipes64",
)  # of the runs' flags
RATE = 60e12  # multiply-adds a second of LadaGAN's step on the H100: 54 and 62 T in SPEEDS
CPU = "two CPU cores"
# Memory and time that were measured: docs/speed.md, docs/lada.md, docs/gat.md, headers of configs.
MEASURED = {
    "quickstart": ("1.3 GB", f"4 minutes of {CPU}"),
    "emoji64": (None, f"two hours of {CPU}"),
    "emoji64_gpu": ("1.5 GB", "3.9 minutes of an H100"),
    "emoji64_conditional_gpu": ("1.6 GB", "3 minutes of an H100"),
    "gat_emoji_gpu": ("2.9 GB", "2.6 minutes of an H100"),
    "flow_emoji_gpu": ("0.9 GB", "1.9 minutes of an H100"),
    "gat_tiny_emoji": (None, "14 to 17 minutes of a CPU core"),
    "cat_tiny_emoji": (None, "19 minutes of a CPU core"),
    "flow_tiny_shapes": (None, "10 minutes of a CPU core"),
    "flow_tiny_emoji": (None, "50 minutes of a CPU core"),
    "studies/shapes32": (None, "2 minutes of a CPU core"),
    "studies/recipes32": (None, "6 minutes of a CPU core"),
}
LIKE = {  # whose step was measured on the H100, by config: images/s, and memory
    "cifar10": (5694.4, "4.3 GB"),
    "celeba64": (4001.4, "6.2 GB"),
    "emoji64_wide_gpu": (4001.4, "6.2 GB"),
    "emoji64_gpu": (6046.7, "1.5 GB"),
    "studies/recipes64": (6046.7, "1.5 GB"),
    "gat_s2_imagenet256": (254.1, "6.1 GB"),
    "gat_b2_imagenet256": (110.4, None),  # of half as many samples as the page's memory
}
# The same sizes as those: images/s of (quickstart's, emoji's, paper's) network at 64 px.
MACHINES = {
    "two CPU cores": (
        suggestion.Machine("", 0, True), {"128,64,32": 110.0, "256,128,64": 36.0, None: 7.0},
    ),
    "one H100": (
        suggestion.Machine("", 1, True), {"128,64,32": 6046.7, "256,128,64": 6046.7, None: 4001.4},
    ),
}  # fmt: skip
HOURS, SIZES = 3.0, (500, 5_000, 50_000, 500_000)


def names():
    return [n for n in flagfiles.names() if "/" not in n and n not in BASES] + list(STUDIES)


def number(value):
    """As people write it: 2e-4, 0.05."""
    return (
        f"{value:g}"
        if not 0 < value < 0.01
        else re.sub("e-0", "e-", f"{value:.1e}".replace(".0", ""))
    )


def two(value):
    """A number in two digits, as people write it: 0.33, 4.2, 120,000."""
    rounded = float(f"{value:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def resolved(name):
    """Sets the flags of a config."""
    for flag in flags.FLAGS:
        flags.FLAGS[flag].unparse()
    read_flags(["train", f"--config={name}"])
    start_flags.resolve()
    return flags.FLAGS


def row_of(name):
    """Cells of a config but for its memory."""
    values = resolved(name)
    of_latents = values.system in ("gat", "cat")
    r1, rates, augmentation = "-", [number(values.g_lr)], "-"  # a flow's
    if values.system != "flow":
        rates.append(number(values.d_lr))
        r1 = number(values.r1_weight)
        r1 += f", R2 {number(values.r2_weight)}" if values.r2_weight else ""
        augmentation = "latents" if of_latents and values.latent_augment else "none"
    if values.system == "lada":
        augmentation = (values.policy or "none").replace(",", ", ") + ", bCR" * values.bcr
    kimg = values.total_kimg
    images = f"{kimg / 1000:.3g} M" if kimg >= 1000 else f"{kimg:g} k"
    return [
        f"[{name}](../configs/{name}.cfg)",
        str(values.resolution or 64),
        str(values.batch_size),
        (rates[0] if len(set(rates)) == 1 else ", ".join(rates))
        + " by width" * bool(of_latents and values.width_aware_lr),
        r1,
        augmentation,
        "yes" if values.flip else "no",
        images,
        time_of(name, values),
    ]


def time_of(name, values):
    """Time of a config's whole run, with a mark of how it is known."""
    if name in MEASURED:
        return f"{MEASURED[name][1]} **m**"
    if name in LIKE:
        return f"{_hours(values.total_kimg * 1000 / LIKE[name][0])} **e**"
    header = (ROOT / "configs" / f"{name}.cfg").read_text()
    if found := re.search(r"([\d.]+e\d+) in all", re.sub(r"\n# ?", " ", header)):
        return f"{_hours(float(found[1]) / RATE)} **r**"
    if values.total_kimg < 1000:
        return "not known"
    return f"{_hours(values.total_kimg * 1000 * training_multiply_adds(values) / RATE)} **r**"


def _hours(seconds):
    return f"{two(seconds / 3600)} h" if seconds >= 3600 else f"{two(seconds / 60)} minutes"


def training_multiply_adds(values):
    """Of a LadaGAN's step per image, from its flags; bCR's two further passes of D with it."""
    classes = {"num_classes": values.num_classes or 0, "pure": False, "class_dim": 64}
    g = types.SimpleNamespace(**arguments(lada.GENERATOR), **classes)
    d = types.SimpleNamespace(**arguments(lada.DISCRIMINATOR), **classes)
    return cost.training_multiply_adds(g, d, bcr=values.bcr)


def own_rows():
    """What is suggested for sets of some sizes at 64 px, at speeds that were measured."""
    for where, (machine, speeds) in MACHINES.items():
        for count in SIZES:
            info = types.SimpleNamespace(
                preparation=types.SimpleNamespace(corrupt=None),
                folder="data/photos-64",
                count=count,
                resolution=64,
                classes=(),
                latents=None,
            )

            def trial(words, speeds=speeds):
                given = dict(word.removeprefix("--").split("=") for word in words)
                speed = speeds[given.get("g_widths")]
                return types.SimpleNamespace(
                    images_per_s=lambda parts: speed, multiply_adds=1 / speed, memory={1: 1}
                )

            found, lines = suggestion.suggest(suggestion_lada, info, machine, HOURS, trial)
            value = {line.flag: line.value for line in lines}
            (chosen,) = [re.match(r"Chosen, (.+?):", line)[1] for line in found if "Chosen" in line]
            kimg = float(value["total_kimg"])
            yield [
                f"{count:,}",
                where,
                chosen.removeprefix("the ").removesuffix(" network"),
                value["batch_size"],
                value["g_lr"]
                if value["g_lr"] == value["d_lr"]
                else f"{value['g_lr']}, {value['d_lr']}",
                value["r1_weight"],
                value["policy"].replace(",", ", ") + ", bCR" * ("bcr" in value),
                f"{two(kimg / 1000)} M" if kimg >= 1000 else f"{kimg:g} k",
                two(1000 * kimg / count),
            ]


def tables_of(text):
    """Rows of the page's tables: list of lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture(scope="module")
def rows():
    return tables_of(PAGE.read_text())


@pytest.fixture(scope="module", autouse=True)
def defined():
    with command(train, train_flags.define):
        yield


@pytest.mark.parametrize("name", names())
def test_the_page_says_what_a_config_says(rows, name):
    again = "write it again: python tests/test_configs.py"
    (row,) = [row for row in rows if row[0].startswith(f"[{name}]")]
    assert [*row[:-2], row[-1]] == row_of(name), again
    assert re.fullmatch(r"[\d.]+ GB \*\*[mer]\*\*|not known", row[-2])
    if known := measured_memory(name):
        assert row[-2].startswith(f"{known} **m**"), again


def test_the_page_says_of_own_sets_what_suggest_does(rows):
    ours = [row for row in rows if row[0].replace(",", "").isdigit()]
    assert ours == list(own_rows()), "write it again: python tests/test_configs.py"


def test_speeds_are_those_that_were_measured():
    measured = {json.loads(line)["train_images_per_s"] for line in SPEEDS.read_text().splitlines()}
    assert {speed for speed, _ in LIKE.values()} <= measured


def measured_memory(name):
    """Text, or None."""
    return LIKE.get(name, (None, None))[1] or MEASURED.get(name, (None,))[0]


def memory_of(name):
    """Measured, or what the header or `--dry_run` says: text."""
    if found := measured_memory(name):
        return f"{found} **m**"
    header = re.sub(r"\n# ?", " ", (ROOT / "configs" / f"{name}.cfg").read_text())
    if found := re.search(r"Memory, estimated: (\d+ GB)", header):
        return f"{found[1]} **r**"
    for flag in flags.FLAGS:
        flags.FLAGS[flag].unparse()
    read_flags(["train", f"--config={name}", "--dry_run", "--dataset=x", "--strategy=none"])
    with contextlib.redirect_stdout(io.StringIO()) as said:
        train.main()
    return re.search(r"roughly[:,] ([\d.]+ GB)", said.getvalue())[1] + " **r**"


def rewrite():
    """Replaces the rows between the heads of both tables and the text behind them."""
    text = PAGE.read_text()
    with command(train, train_flags.define):
        first = []
        for name in names():
            *cells, time = row_of(name)
            first.append([*cells, memory_of(name), time])
            print(f"| {' | '.join(first[-1])} |", flush=True)
        for head, rows in (("| config |", first), ("| images | machine |", own_rows())):
            lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
            pattern = rf"^({re.escape(head)}.*\n\|[-|]+\|\n)(?:\|.*\n)*"
            text = re.sub(pattern, lambda m, new=lines: f"{m[1]}{new}\n", text, flags=re.M)
    PAGE.write_text(text)


if __name__ == "__main__":
    rewrite()
