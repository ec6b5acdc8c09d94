"""`ladagan suggest`: a flagfile with reasons for a set, a machine and some hours."""

import dataclasses
import itertools
import json
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from in_process import command, error_line

from ladagan_tf import suggest, train
from ladagan_tf.cost.gat import GRAPHS
from ladagan_tf.cost.lada import of_process
from ladagan_tf.data import dataset_info, latents
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import suggest as suggest_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.systems import suggestion, suggestion_gat, suggestion_lada
from ladagan_tf.training.speed import Stopwatch, images_per_second

CPU = suggestion.Machine("no GPU; 2 cores of a CPU", gpus=0, bfloat16=False)
H100 = suggestion.Machine("H100", gpus=1, bfloat16=True)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    prepare("shapes", folder, resolution=32, num_images=50, workers=1)
    return folder


@pytest.fixture(scope="module")
def a_set(shapes):
    """Describes a set: `a_set(count, resolution, classes)`."""
    info = dataset_info.load_info(shapes)

    def describe(count, resolution, classes=()):
        counts = (count // max(len(classes), 1),) * len(classes)
        return dataclasses.replace(
            info, count=count, resolution=resolution, classes=classes, class_counts=counts
        )

    return describe


class Work:
    """A trial on a machine that makes so many multiply-adds a second; it records what was asked."""

    def __init__(self, words, per_second, measured):
        values = dict(word.removeprefix("--").split("=") for word in words)
        narrow = {"128,64,32": 0.05, "256,128,64": 0.2}
        self.multiply_adds = narrow.get(values.get("g_widths"), 1.0) * int(
            {"cifar10_32": 10, "celeba_64": 11, "ffhq_128": 40, "ffhq_256": 52}[values["preset"]]
        )
        self.per_second, self.measured = per_second, measured
        self.memory = {1: 4e9, 2: 2e9}

    def images_per_s(self, parts):
        self.measured.append(self.multiply_adds)
        return self.per_second / self.multiply_adds


def suggested(info, machine, hours, per_second, given=()):
    """(What was found, dict of the flags, their lines, how many networks were measured)."""
    measured = []
    found, lines = suggestion.suggest(
        suggestion_lada,
        info,
        machine,
        hours,
        lambda words: Work(words, per_second, measured),
        given,
    )
    return found, {line.flag: line.value for line in lines}, lines, len(measured)


def test_a_tiny_set_of_few_images(a_set):
    found, values, _, measured = suggested(a_set(12, 32), CPU, 0.1, per_second=50)
    assert values["batch_size"] == "12" and values["metric_images"] == "12"
    assert values["g_widths"] == "128,64,32" and measured == 1
    assert values["bcr"] == "true" and values["policy"] == "translation,cutout"
    assert values["metric"] == "swd" and "conditional" not in values
    assert values["precision"] == "float32"
    assert values["total_kimg"] == "32"  # 0.9 * 0.1 h * 100 images/s, in two digits
    assert any(line.startswith("Few images: few runs had fewer than 1,000") for line in found)
    assert any("by its multiply-adds 8.1 thousand images in the time" in line for line in found)


def test_a_medium_set_with_labels(a_set):
    constant = suggestion.Line("schedule", "constant", "")
    info = a_set(10_000, 64, tuple("abcdefghi"))
    found, values, lines, measured = suggested(info, CPU, 3, per_second=66)
    assert values["g_widths"] == "256,128,64" and values["d_widths"] == "32,64,128"
    assert values["conditional"] == "true" and values["num_classes"] == "9"
    assert values["metric"] == "fcd" and values["features"] == "classifier"
    assert values["policy"] == "color,translation,cutout" and "bcr" not in values
    assert values["g_output"] == "tanh" and values["schedule"] == "cosine"
    assert values["total_kimg"] == values["schedule_kimg"] == "290"
    assert values["ema_halflife_kimg"] == "4.1"
    assert measured == 2
    assert any(line.startswith("Not the paper's network: the paper's sets have") for line in found)
    assert all(line.reason.endswith(".") for line in lines)
    few = suggested(a_set(500, 64, tuple("abcdefghi")), CPU, 3, 66, [constant])
    assert not {"schedule_kimg", "lr_final"} & few[1].keys()
    assert "conditional" not in few[1]
    assert any(line.startswith("Without classes: fewer than 100 images each") for line in few[0])


def test_a_large_set_of_high_resolution_on_a_gpu(a_set):
    info = a_set(70_000, 256)
    _, values, lines, measured = suggested(info, H100, 12, per_second=60_000)
    assert measured == 3 and values["preset"] == "ffhq_256"
    assert not {"g_widths", "d_scale_cue", "ema_halflife_kimg"} & values.keys()
    assert (values["g_lr"], values["r1_weight"], values["batch_size"]) == ("2e-4", "1e-4", "64")
    assert values["policy"] == "color,translation,cutout" and values["bcr"] == "true"
    assert values["total_kimg"] == "24064" and values["precision"] == "mixed_bfloat16"
    (length,) = (line.reason for line in lines if line.flag == "total_kimg")
    assert length == "The paper's length, 5.79 hours at this speed."
    _, slower, _, _ = suggested(info, H100, 1, per_second=60_000)
    assert slower["g_decoder_widths"] == "32,16,8" and slower["batch_size"] == "64"


@pytest.mark.parametrize(
    ("count", "side", "classes", "metric"),
    [
        (500, 512, "ab", "swd"),
        (500, 512, "", "swd"),
        (500, 256, "ab", "fcd"),
        (500, 96, "ab", "none"),
        (1, 32, "", "none"),
    ],
)
def test_the_metric_takes_images_of_the_size_and_so_many(a_set, count, side, classes, metric):
    found = {line.flag: line.value for line in suggestion._metric(a_set(count, side, classes), 9.0)}
    assert found["metric"] == metric


def test_classes_that_a_set_has_not_are_not_suggested(a_set):
    given = [suggestion.Line("conditional", "True", "As given.")]
    with pytest.raises(InputError, match=r"^--conditional: .* has 0 classes"):
        suggested(a_set(500, 64), CPU, 3, per_second=66, given=given)


def test_several_gpus_share_a_batch_that_they_divide(a_set):
    machine = dataclasses.replace(H100, gpus=3)
    _, values, _, _ = suggested(a_set(70_000, 32), machine, 3, per_second=600)
    assert (values["strategy"], values["batch_size"]) == ("mirrored", "63")


def test_what_does_not_fit_into_memory_is_not_chosen(a_set):
    class Full(Work):
        def images_per_s(self, parts):
            return 0 if self.multiply_adds > 1 else super().images_per_s(parts)

    found, lines = suggestion.suggest(
        suggestion_lada, a_set(5000, 32), H100, 3, lambda words: Full(words, 9000, []), ()
    )
    assert "--g_widths=128,64,32" in map(str, lines)
    assert any("it does not fit into memory" in line for line in found)


@pytest.mark.parametrize(
    ("available", "parts", "said"),
    [
        (None, None, "roughly 4 GB per device"),
        (6e9, None, "roughly 4 GB per device"),
        (3e9, "2", "roughly 2 GB per device"),
    ],
)
def test_a_batch_is_divided_where_a_device_would_not_hold_it(a_set, available, parts, said):
    machine = dataclasses.replace(CPU, memory=available)
    found, values, lines, _ = suggested(a_set(5000, 32), machine, 1, per_second=50)
    assert values.get("micro_batches") == parts and any(said in line for line in found)
    if parts:
        (reason,) = (line.reason for line in lines if line.flag == "micro_batches")
        assert reason == "Roughly 2 GB instead of 4, of the 3 GB of a device."


def test_too_little_memory_for_any_part_is_one_line(a_set):
    with pytest.raises(InputError, match="--batch_size: not even the smallest network fits"):
        suggested(a_set(5000, 32), dataclasses.replace(CPU, memory=1e9), 1, per_second=50)


LATENTS = dataset_info.Latents(32, 4, "float16", "sd-mse", "0", "0", 0.18215, images=True)
GAT_WORK = {None: 1.8, "S": 148, "B": 550, "L": 1900, "XL": 2800}  # G multiply-adds of a step
GAT_BYTES = {None: 1e9, "S": 40e9, "B": 100e9, "L": 240e9, "XL": 340e9}  # of a whole batch


def suggested_gat(a_set, machine, hours, per_second, count=1_281_167, given=(), **changes):
    """What is suggested for latents of 256 px: (found, dict of the flags, sizes measured)."""
    measured = []

    class GatWork:
        def __init__(self, words):
            given = dict(word.removeprefix("--").split("=") for word in words)
            assert given["system"] == "gat" and given["latent_size"] == str(changed.size)
            self.size = given.get("size")
            self.multiply_adds = GAT_WORK[self.size]
            self.memory = {2**n: GAT_BYTES[self.size] / 2**n for n in range(10)}

        def images_per_s(self, parts):
            measured.append(self.size)
            return per_second / self.multiply_adds

    changed = dataclasses.replace(LATENTS, **changes)
    info = dataclasses.replace(a_set(count, 256, tuple("abc")), latents=changed)
    found, lines = suggestion.suggest(suggestion_gat, info, machine, hours, GatWork, given)
    return found, {line.flag: line.value for line in lines}, measured


def test_latents_and_a_cpu_suggest_the_tiny_gat(a_set):
    found, values, measured = suggested_gat(a_set, CPU, 3, per_second=100)
    assert values["g_shape"] == "128,8,4" and values["batch_size"] == "16"
    assert (values["patch"], values["num_classes"], values["teacher"]) == ("2", "3", "none")
    assert values["metric"] == "fcd" and not {"policy", "flip", "bcr", "remat"} & values.keys()
    assert measured == [None]
    assert found[0] == "1,281,167 latents of 256 x 256 pixels, 3 classes"
    assert any("Not the paper's network S: by its multiply-adds 6.57 thousand" in s for s in found)


@pytest.mark.parametrize(
    ("hours", "size", "kimg", "parts"),
    [(30, "S", 25_600, 1), (60, "B", 17_000, 2), (150, "L", 12_000, 4), (1000, "XL", 57_000, 8)],
)
def test_more_hours_of_an_h100_suggest_larger_gats(a_set, hours, size, kimg, parts):
    machine = dataclasses.replace(H100, memory=80 * 10**9)
    _, values, _ = suggested_gat(a_set, machine, hours, per_second=50_000)
    assert values["size"] == size and values["batch_size"] == "512" and values["remat"] == "true"
    assert float(values["total_kimg"]) == kimg
    assert int(values.get("micro_batches", "1")) == parts


def test_a_size_that_is_asked_for_is_the_one_that_is_suggested(a_set):
    given = [suggestion.Line("size", "B", "As given.")]
    _, values, measured = suggested_gat(a_set, H100, 3, 50_000, count=3_000, given=given)
    assert values["size"] == "B" and "g_shape" not in values and measured == ["B"]


def test_what_a_set_of_latents_lacks_is_not_suggested(a_set):
    few, values, measured = suggested_gat(a_set, H100, 400, 50_000, count=3_000, size=7)
    assert values["patch"] == "1" and measured == [None]
    assert any("Not the paper's network S: it is suggested from 50,000" in line for line in few)
    assert any(line.startswith("Few images: few runs had fewer than 3,781") for line in few)
    _, values, _ = suggested_gat(a_set, CPU, 1, 100, images=False, teacher={"features": 768})
    assert values["metric"] == "none" and values["teacher"] == "stored"
    assert "features" not in values


@pytest.fixture(scope="module")
def latent_set(shapes):
    """Latents of `shapes`, 4 x 4, of no autoencoder: all of mean 0 and deviation 1."""
    latent = dataclasses.replace(LATENTS, size=4)
    moments = np.zeros((16, 4, 4, 4)), np.ones((16, 4, 4, 4))
    encoding = latents.Encoding(lambda images: moments, latent)
    latents.prepare_set(shapes, shapes.parent / "latents", encoding)
    return shapes.parent / "latents"


def test_what_is_written_of_latents_is_a_flagfile_of_train(latent_set, tmp_path, monkeypatch):
    monkeypatch.setattr(suggest, "images_per_second", lambda *_: 0.1)
    least = of_process(560_000, GRAPHS)  # less than a batch takes
    monkeypatch.setattr(suggest, "device_memory", lambda: least / suggestion.USABLE)
    small = ["--g_shape=16,2,2", "--d_shape=16,1,2", "--class_dim=8"]
    small += ["--levels=2", "--precision=float32"]
    with command(suggest, suggest_flags.define) as main:
        main(f"--dataset={latent_set}", "--hours=0.1", f"--out={tmp_path / 'a.cfg'}", *small)
    with command(train, train_flags.define) as call:
        call(f"--flagfile={tmp_path / 'a.cfg'}", f"--run_dir={tmp_path / 'run'}", "--dry_run")
        values = flags.FLAGS.flag_values_dict()
    assert (values["system"], values["latent_size"], values["num_classes"]) == ("gat", 4, 30)
    assert values["g_shape"] == ["16", "2", "2"] and values["micro_batches"] > 1


def test_what_is_given_is_kept_also_in_the_trial(a_set):
    given = [
        suggestion.Line("ema_decay", "0.99", "As given."),
        suggestion.Line("batch_size", "8", "As given."),
        suggestion.Line("seed", "3", "-"),
    ]
    seen = []

    def trial(words):
        seen.append(words)
        return Work(words, 50, [])

    _, lines = suggestion.suggest(suggestion_lada, a_set(5000, 32), CPU, 1, trial, given)
    for words in (*seen, list(map(str, lines))):
        assert "--batch_size=8" in words and "--seed=3" in words
        assert "--ema_decay=0.99" in words and not any("ema_halflife" in word for word in words)
        assert len({word.partition("=")[0] for word in words}) == len(words)


@pytest.mark.parametrize(("count", "resolution", "classes", "machine"), [
    (12, 32, (), CPU), (5000, 64, tuple("abcdefghi"), CPU), (70_000, 256, (), H100),
])  # fmt: skip
def test_train_takes_what_is_suggested(a_set, tmp_path, count, resolution, classes, machine):
    info = a_set(count, resolution, classes)
    found, _, lines, _ = suggested(info, machine, 3, per_second=60_000 if machine.gpus else 60)
    (tmp_path / "a.cfg").write_text(suggestion.as_flagfile("A set", found, lines))
    with command(train, train_flags.define):
        read_flags(["train", f"--flagfile={tmp_path / 'a.cfg'}"])
        recorded = start_flags.resolve()
    assert recorded["resolution"] == str(resolution)
    assert recorded.get("num_classes", "0") == str(len(classes))


@pytest.mark.parametrize(("count", "asked"), [(5000, "False"), (500, "True")])
def test_who_asks_for_classes_or_for_none_gets_that(a_set, count, asked):
    given = [suggestion.Line("conditional", asked, "As given.")]
    _, values, _, _ = suggested(a_set(count, 64, tuple("abcde")), CPU, 3, 60, given)
    assert values["conditional"] == asked and ("num_classes" in values) == (asked == "True")


def test_against_a_set_that_was_damaged_nothing_is_measured(a_set):
    info = a_set(5000, 32, tuple("abcde"))
    info = dataclasses.replace(
        info, preparation=dataclasses.replace(info.preparation, corrupt="noise:0.3")
    )
    _, values, _, _ = suggested(info, CPU, 3, 60)
    assert values["metric"] == "none" and "features" not in values


def test_a_part_of_a_set_is_what_is_learned(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(suggest, "images_per_second", lambda *_: 36.0)
    words = [word for word in TINY if "batch_size" not in word]
    with command(suggest, suggest_flags.define) as main:
        out = tmp_path / "a.cfg"
        main(f"--dataset={shapes}", "--subset=0.2", "--hours=0.01", f"--out={out}", *words)
    assert "# 10 images of 32 x 32 pixels" in out.read_text()
    assert {"--batch_size=10", "--subset=0.2"} <= set(out.read_text().splitlines())


TINY = [
    "--g_widths=16,16,16", "--g_heads=1,1,1", "--g_mlp_widths=8,8,8", "--noise_dim=4",
    "--d_widths=4,8", "--d_heads=1", "--d_mlp_width=8", "--d_out_widths=8,8", "--batch_size=2",
    "--bcr=false", "--precision=float32",
]  # fmt: skip


def test_what_is_written_is_a_flagfile_of_train(shapes, tmp_path, monkeypatch):
    monkeypatch.setattr(suggest, "images_per_second", lambda gan, *_: 9.0 * gan.generator.noise_dim)
    out = tmp_path / "new" / "a.cfg"
    with command(suggest, suggest_flags.define) as main:
        main(f"--dataset={shapes}", "--hours=0.01", f"--out={out}", *TINY)
    lines = out.read_text().splitlines()
    assert (
        f"--dataset={shapes}" in lines and "network: 36 images/s in a trial here" in out.read_text()
    )
    assert all(line.startswith(("# ", "--")) and len(line) <= 200 for line in lines)
    for before, line in itertools.pairwise(lines):
        assert line.startswith("# ") or before.startswith("# "), line
    with command(train, train_flags.define) as call:
        call(f"--flagfile={out}", f"--run_dir={tmp_path / 'run'}", "--dry_run")
        assert flags.FLAGS.batch_size == 2 and flags.FLAGS.metric_images == 50
    assert not (tmp_path / "run").exists()


class Toy(keras.Model):
    """Counts its steps."""

    def __init__(self):
        super().__init__()
        self.seed, self.objective = 3, types.SimpleNamespace(needs={})
        self.step = self.add_weight(shape=(), initializer="zeros", dtype="int64", trainable=False)

    def train_step(self, data):
        images, _ = data
        assert images.shape == (8, 32, 32, 3)
        self.step.assign_add(1)


def test_two_devices_are_timed_as_one(shapes):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        toy = Toy()
    assert images_per_second(toy, shapes, 8, seconds=0.0) > 0


def test_as_few_steps_are_timed_as_do(shapes):
    toy = Toy()
    assert images_per_second(toy, shapes, 8, seconds=0.0) > 0
    assert int(toy.step) == 2 + 3


def test_speed_is_the_median_of_steps_behind_the_first_ones():
    times = iter([100.0, 109.0, 111.0, 113.0, 165.0, 167.0, 170.0])
    watch = Stopwatch(seconds=61.0, clock=lambda: next(times))
    watch.set_model(types.SimpleNamespace(step=0, stop_training=False))
    for step in range(7):
        assert not watch.model.stop_training
        watch.on_train_batch_end(step)
    assert watch.times == [2.0, 2.0, 52.0, 2.0, 3.0] and watch.model.stop_training


@pytest.fixture
def main():
    with command(suggest, suggest_flags.define) as call:
        yield call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--dataset is required"),
        (["--dataset=nowhere"], "dataset=nowhere: no such folder"),
        (["--dataset=shapes"], "resolution is required with dataset=shapes"),
        (["--dataset=SET", "--hours=0"], "--hours=0: "),
        (["--dataset=SET", "--dry_run"], "--dry_run: it is for train, behind the --flagfile"),
        (["--dataset=SET", "--measure_seconds=1"], "--measure_seconds: it is for train, behind"),
        (["--dataset=SET", "--system=cat"], "--system=cat: too little was trained here"),
        (["--dataset=SET", "--system=flow"], "--system=flow: too little was trained here"),
        (["--dataset=SET", "--system=gat"], "--system=gat: --dataset=SET holds images; encode it"),
        (["--dataset=SET", "--out=SET"], "it exists already"),
        (["--dataset=SET", "--out=/proc/a.cfg"], "out=/proc/a.cfg: it cannot be written"),
        (["--dataset=LATENTS", "--system=lada"], "--dataset=LATENTS holds latents, for a GAT"),
        (["--dataset=SIDE"], "its images have 96 x 96 pixels, and LadaGAN makes 32, 64, 128, 256"),
        (["--dataset=SET", "--g_widths=16,x"], "--g_widths=16,x: give integers"),
    ],
)
def test_what_cannot_be_suggested_is_one_line(
    main, capsys, shapes, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    content = json.loads((shapes / "dataset.json").read_text())
    latents = {
        "size": 4, "channels": 4, "dtype": "float16", "vae": "x", "vae_sha256": "0",
        "encoder_sha256": "0", "scaling_factor": 1.0, "images": False,
    }  # fmt: skip
    for name, change in {"LATENTS": {"latents": latents}, "SIDE": {"resolution": 96}}.items():
        (tmp_path / name).mkdir()
        for shard in shapes.glob("*.tfrecord"):
            (tmp_path / name / shard.name).symlink_to(shard)
        (tmp_path / name / "dataset.json").write_text(json.dumps(content | change))
    words = [word.replace("SET", str(shapes)) for word in arguments]
    assert message.replace("SET", str(shapes)) in error_line(main, words, capsys)
