"""A run goes on where it was, or says in a line why not."""

import errno
import types

import pytest
import tensorflow as tf

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.training import loop
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.averages import HalfLife
from ladagan_tf.training.callbacks import Schedule
from ladagan_tf.training.loop import (
    contents_of,
    other_devices,
    other_order,
    sizes_in_words,
    told_how_to_continue,
)
from ladagan_tf.training.step import decay_of_halflife

FULL = OSError(errno.ENOSPC, "No space left on device", "stats.jsonl")
FULL_SAYS_TENSORFLOW = tf.errors.UnknownError(None, None, "a/b; No space left on device [Op:Save]")


@pytest.mark.parametrize("error", [FULL, FULL_SAYS_TENSORFLOW], ids=["ours", "TensorFlow's"])
@pytest.mark.parametrize("kept", ["step-00000007", None])
def test_a_full_disk_is_a_line_that_says_where_the_run_continues(tmp_path, error, kept):
    paths = [tmp_path / "step-00000003", tmp_path / kept] if kept else []
    checkpoints = types.SimpleNamespace(paths=lambda: paths)
    with pytest.raises(InputError) as found, told_how_to_continue("runs/x", checkpoints):
        raise error
    assert str(found.value) == (
        "run_dir=runs/x: it cannot be written (No space left on device); once it can, run the same "
        f"command to continue from {kept or 'the start'}"
    )


def test_a_reader_that_has_seen_enough_is_no_disk(tmp_path):
    with pytest.raises(BrokenPipeError), told_how_to_continue("runs/x", None):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_images_of_earlier_batches_count_as_they_were():
    schedule = Schedule(batch_size=16, start_step=30, total_steps=40, start_images=240)
    assert [schedule.images(step) for step in (30, 31, 40)] == [240, 256, 400]
    assert schedule.due(34, 0.3) and not schedule.due(33, 0.3)


def test_the_average_s_ramp_up_counts_them_too():
    seen = AdversarialModel._seen(types.SimpleNamespace(step=31, images_before=-240), 16)
    expected = 1.0 - decay_of_halflife(16.0, 256.0, 9.0, 0.1)
    assert float(HalfLife(9.0, 0.1).share(16, seen)) == pytest.approx(float(expected))


def test_another_number_of_devices_is_said_because_it_changes_batch_norm():
    two, four = ({"workers": 1, "replicas": n} for n in (2, 4))
    said = other_devices(two, four)
    assert said.startswith("1 worker(s) x 2 replica(s) before, 1 x 4 now: batch norm")
    assert other_devices(two, two) is None
    assert other_devices({}, four) is None  # it was not recorded


def test_another_order_of_the_images_is_said():
    one, other = {"order": "shards 01"}, {"order": "memory"}
    assert other_order(one, other).startswith("the set was prepared again, and its images come in")
    assert other_order(one, one) is other_order({}, one) is None


@pytest.mark.parametrize(("subset", "said"), [(1.0, "400 images"), (0.04, "16 of 400 images")])
def test_a_start_says_how_many_images_it_learns_from(monkeypatch, subset, said):
    info = types.SimpleNamespace(count=400, resolution=32)
    monkeypatch.setattr(dataset_info, "load_info", lambda folder: info)
    network = types.SimpleNamespace(count_params=lambda: 1000)
    told = sizes_in_words("set", subset, types.SimpleNamespace(networks={"generator": network}))
    assert told == f"{said} of 32 x 32 pixels; parameters: generator 1,000"


def test_what_a_run_learns_from_is_known_by_content(monkeypatch):
    info = types.SimpleNamespace(content_sha256="01")
    monkeypatch.setattr(dataset_info, "load_info", lambda folder: info)
    monkeypatch.setattr(loop, "content_sha256", lambda tensors: f"of {tensors}")
    vae = types.SimpleNamespace(tensors=lambda: "a, b")

    def found(about, vae=None):
        teacher = about and types.SimpleNamespace(about=about)
        return contents_of("set", types.SimpleNamespace(teacher=teacher), vae)

    assert found(None) == contents_of("set", object()) == {"dataset": "01"}
    classifier = {"teacher": "classifier", "file": "a.keras", "sha256": "23"}
    assert found(classifier, vae) == {
        "dataset": "01",
        "teacher": "classifier 23",
        "vae": "of a, b",
    }
    assert found({"teacher": "stored", "stored": classifier})["teacher"] == "stored 23"
