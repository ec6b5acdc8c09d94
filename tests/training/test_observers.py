"""Sample grids of every kind of generator; spikes and norms by block in the statistics."""

import json
import re
import sys
import types

import keras
import pytest
from PIL import Image

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("about tf.summary: needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.errors import InputError  # noqa: E402
from ladagan_tf.hardware import peak_memory  # noqa: E402
from ladagan_tf.runs.directory import RunDirectory  # noqa: E402
from ladagan_tf.training.callbacks import Schedule  # noqa: E402
from ladagan_tf.training.cat import CatObjective  # noqa: E402
from ladagan_tf.training.gat import GatObjective  # noqa: E402
from ladagan_tf.training.lada import LadaObjective  # noqa: E402
from ladagan_tf.training.observers import (  # noqa: E402
    Forecast,
    Measuring,
    Progress,
    Samples,
    Statistics,
    Tracking,
    duration,
    tag,
    write_flags,
)

GRID = 2


class Plain:
    """A generator of black images: attention without maps."""

    noise_dim = 3
    has_attention_maps = False

    def __call__(self, z):
        return tf.fill((tf.shape(z)[0], 8, 8, 3), -1.0)


class Mapped(Plain):
    has_attention_maps = True

    def attention_maps(self, z):
        return self(z), [tf.fill((tf.shape(z)[0], 2, 4), 0.25)]


class Conditional(Plain):
    num_classes = 5

    def __call__(self, z, labels, psi=1.0):
        return super().__call__(z)


class Truncated(Conditional):
    mean_style = None


@pytest.mark.parametrize(
    ("network", "sheets"),
    [
        (Plain(), {"samples"}),
        (Mapped(), {"samples", "attention"}),
        (Conditional(), {"samples"}),
        (Truncated(), {"samples", "samples_psi0.5"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_generator_s_sheets_are_what_it_can_show(tmp_path, network, sheets):
    run = RunDirectory(tmp_path)
    run.samples.mkdir()
    writer = tf.summary.create_noop_writer()
    samples = Samples(Schedule(1, 0, 10), run, writer, 1.0, network, GRID, seed=0)
    samples.on_train_begin()
    assert {file.name.rsplit("_", 1)[0] for file in run.samples.iterdir()} == sheets


class Flow(Plain):
    resolution = 8

    def __init__(self, sampler, steps):
        self.sampler, self.steps = sampler, steps


def test_scores_of_a_flow_are_compared_where_its_steps_are_the_same():
    metric = types.SimpleNamespace(identity="fcd 0a")
    decoded = types.SimpleNamespace(generator=Flow("heun", 4), noise_dim=3, resolution=8)
    networks = [
        types.SimpleNamespace(noise_dim=3, resolution=8),
        Flow("euler", 4),
        Flow("heun", 4),
        Flow("heun", 8),
        decoded,
    ]
    schedule = Schedule(1, 0, 10)
    found = [Measuring(schedule, None, None, 1.0, metric, n).measured_by for n in networks]
    assert found[0] == "fcd 0a" and found[4] == found[2]
    assert len(set(found)) == 4


class Model:
    clipped = 0.125
    was_reset = False

    def means(self):
        return {"d_loss": 1.0 / 3.0, "g_grad_norm/block_8": 2.0, "clipped": self.clipped}

    def reset_means(self):
        self.was_reset = True

    def scheduled(self, images):
        return {"augment_p": images / 2000}

    def totals(self):
        return {"d_grad_spikes": 0, "g_grad_spikes": 4}


def test_a_line_of_statistics_holds_means_norms_by_block_and_spikes_so_far(tmp_path):
    statistics = Statistics(
        Schedule(500, 0, 10), RunDirectory(tmp_path), tf.summary.create_noop_writer(), kimg=1.0
    )
    model = Model()
    statistics.set_model(model)
    statistics.on_train_begin()
    for step in (1, 2):
        statistics.after_step(step)
    (line,) = map(json.loads, (tmp_path / "stats.jsonl").read_text().splitlines())
    assert 1000 / line.pop("img_per_s") == pytest.approx(line.pop("sec_per_kimg"), abs=0.002)
    assert {name: line.pop(name) for name in peak_memory()} == pytest.approx(peak_memory(), abs=0.1)
    assert line == {
        "step": 2,
        "kimg": 1.0,
        "d_loss": 0.333333,
        "g_grad_norm/block_8": 2.0,
        "clipped": 0.125,
        "d_grad_spikes": 0,
        "g_grad_spikes": 4,
        "augment_p": 0.5,
    }
    assert model.was_reset


def test_a_start_warns_once_when_a_fifth_of_the_values_is_clipped(capsys):
    progress, model = Progress(Schedule(500, 0, 10), kimg=0.5), Model()
    progress.set_model(model)
    progress.on_train_begin()
    said = []
    for step, clipped in enumerate((0.2, 0.25, 0.3), 1):
        model.clipped = clipped
        progress.after_step(step)
        said.append(capsys.readouterr().err.count("warning: "))
    progress.on_train_end()
    assert said == [0, 1, 0]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("d_loss", "loss"),
        ("g_loss", "loss"),
        ("d_total", "loss"),
        ("alignment", "loss"),
        ("margin", "logits"),
        ("fake_logits", "logits"),
        ("real_sign", "logits"),
        ("clipped", "images"),
        ("augment_p", "schedule"),
        ("r1", "penalties"),
        ("bcr", "penalties"),
        ("d_grad_norm/block_8", "norms"),
        ("g_grad_spikes", "norms"),
        ("sec_per_kimg", "speed"),
        ("gpu_peak_gb", "memory"),
        ("fid_inception_5k", "metric"),
    ],
)
def test_scalars_of_a_kind_stand_together(name, group):
    assert tag(name) == f"{group}/{name}"


def test_no_scalar_of_an_objective_is_taken_for_a_metric():
    objectives = [
        LadaObjective(loss="rpgan", r2_weight=1.0, bcr=True, centring_weight=1.0),
        GatObjective(centring_weight=1.0),
        CatObjective(),
    ]
    names = {name for o in objectives for name in (*o.metrics, *o.observed)}
    assert len(names) > 20 and not [name for name in names if tag(name).startswith("metric")]


@pytest.mark.parametrize(("scale", "factor"), [(3, 3), (None, 39)])
def test_small_images_are_enlarged_in_grids(tmp_path, scale, factor):
    run = RunDirectory(tmp_path)
    run.samples.mkdir()
    writer = tf.summary.create_noop_writer()
    samples = Samples(Schedule(1, 0, 10), run, writer, 1.0, Plain(), GRID, seed=0, scale=scale)
    samples.on_train_begin()
    (file,) = run.samples.iterdir()
    assert Image.open(file).size == (GRID * (8 * factor + 2) - 2,) * 2


def test_tensorboard_has_groups_and_the_flags_as_text(tmp_path):
    run = RunDirectory(tmp_path)
    run.samples.mkdir()
    writer = tf.summary.create_file_writer(str(run.tensorboard))
    write_flags(writer, {"g_lr": "0.1", "batch_size": "8"}, 0)
    Samples(Schedule(1, 0, 10), run, writer, 1.0, Mapped(), GRID, seed=0).on_train_begin()
    statistics = Statistics(Schedule(500, 0, 10), run, writer, kimg=0.5)
    statistics.set_model(Model())
    statistics.on_train_begin()
    statistics.after_step(1)
    writer.flush()
    (file,) = run.tensorboard.iterdir()
    values = {
        value.tag: value.tensor
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    }
    assert values.keys() >= {"images/samples", "images/attention", "loss/d_loss", "speed/img_per_s"}
    (text,) = tf.make_ndarray(values["flags"]).ravel()
    assert text.decode() == "| flag | value |\n|---|---|\n| batch_size | 8 |\n| g_lr | 0.1 |\n"


def said_by(run):
    """A list to which the run's lines go from now on."""
    lines = []
    run.say = run.note = lines.append
    return lines


def test_every_window_is_a_line_and_speaks_of_speed_once_nothing_is_traced(tmp_path):
    run = RunDirectory(tmp_path)
    lines = said_by(run)
    statistics = Statistics(Schedule(500, 0, 10), run, tf.summary.create_noop_writer(), kimg=1.0)
    statistics.set_model(Model())
    statistics.on_train_begin()
    for step in range(1, 5):
        statistics.after_step(step)
    assert lines[0] == "1 of 5 kimg: d_loss 0.333, clipped 0.125"
    assert re.fullmatch(
        r"2 of 5 kimg, \S+ images/s, .+ left: d_loss 0.333, clipped 0.125", lines[1]
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"),
        (47 * 3600 + 59 * 60, "47 h 59 min"), (60 * 3600, "2.5 days"),
    ],
)  # fmt: skip
def test_durations_are_said_in_two_units_at_most(seconds, words):
    assert duration(seconds * 100, speed=100) == words


def test_after_the_first_minute_a_run_says_once_how_long_it_will_take(tmp_path):
    run, now = RunDirectory(tmp_path), 0.0
    lines = said_by(run)
    forecast = Forecast(Schedule(100, 0, 1000), run, clock=lambda: now)
    for step in range(1, 200):
        now += 100.0 if step == 1 else 1.0  # the first one takes long: it is traced
        forecast.after_step(step)
        assert bool(lines) == (step >= 61)
    assert lines == [f"{tmp_path}: 100 images/s in the first minute: 15 min 39 s to the end"]


class FakeTracked(list):
    """What `wandb.init` returns, as far as it is used."""

    def log(self, values, step):
        self.append((step, values))

    def finish(self):
        self.append("finished")


@pytest.fixture
def wandb(monkeypatch):
    """A module in place of wandb, whose `begun` are the arguments and logs of each start."""
    module = types.SimpleNamespace(begun=[], Image=lambda path: path)

    def init(**how):
        module.begun.append((how, FakeTracked()))
        return module.begun[-1][1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


def test_weights_and_biases_sees_what_the_run_writes_and_goes_on_at_the_same_page(wandb, tmp_path):
    run = RunDirectory(tmp_path / "a")
    run.samples.mkdir(parents=True)
    for start in (0, 2):
        tracking = Tracking(Schedule(500, start, 4), run, "faces", {"g_lr": "0.1"}, (1.0, 2.0))
        tracking.on_train_begin()
        for step in (start + 1, start + 2):
            run.append_stats({"step": step, "kimg": step / 2, "d_loss": step / 4, "fid": 3.0})
            for kind in ("samples", "samples_psi0.5"):
                (run.samples / f"{kind}_{step / 2:010.3f}kimg.png").touch()
            tracking.after_step(step)
        tracking.on_train_end()
    (first, logged), (again, later) = wandb.begun
    assert first["project"] == "faces" and first["config"] == {"g_lr": "0.1"}
    assert first == again and first["resume"] == "allow" and len(first["id"]) == 8
    ((step, values), end), ((more, after), _) = logged, later
    assert (step, more, end) == (2, 4, "finished")
    assert values["loss/d_loss"] == 0.5 and values["metric/fid"] == 3.0 and values["kimg"] == 1.0
    assert values["images/samples"].endswith("samples_000001.000kimg.png")
    assert after["loss/d_loss"] == 1.0 and "step" not in {*values, *after}


def test_weights_and_biases_that_never_began_need_no_end(tmp_path):
    Tracking(Schedule(500, 0, 4), RunDirectory(tmp_path / "a"), "faces", {}, (1.0,)).on_train_end()


def test_weights_and_biases_that_cannot_be_reached_is_one_line(wandb, tmp_path):
    def init(**how):
        raise RuntimeError("api_key not configured (no-tty)")

    wandb.init = init
    run = RunDirectory(tmp_path)
    with pytest.raises(InputError, match=r"^--wandb=p: .* cannot be reached \(api_key not .* WAND"):
        Tracking(Schedule(1, 0, 1), run, "p", {}, (1.0,)).on_train_begin()
