"""The official format: its names, its fields, and what is said about folders that do not fit."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.models.checks import tensor_problems
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official import lada_fields, lada_folder
from ladagan_tf.official.lada_names import generator_names, load_official, optimizer_names

SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}
CONFIG = {
    "img_size": 32, "batch_size": 8, "noise_dim": 8, "g_dim": [16, 16, 16], "g_heads": [2, 2, 2],
    "g_mlp": [8, 8, 8], "d_enc_dim": [8, 16], "d_out_dim": [16, 16], "d_heads": 2, "d_mlp": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def generator():
    return Generator(**SIZES)


@pytest.fixture(scope="module")
def arrays(generator):
    return {name: variable.numpy() for name, variable in generator_names(generator)}


@pytest.mark.parametrize("scaled", [False, True])
def test_an_optimizer_is_numbered_momentum_then_velocity_per_trained_weight(generator, scaled):
    adam = optimizer = keras.optimizers.Adam()
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(adam)
    optimizer.build(generator.trainable_variables)
    named = dict(optimizer_names(optimizer, generator_names, generator, "g_optimizer"))
    assert named.pop("g_optimizer/_iterations") is adam.iterations
    assert set(named) == {f"g_optimizer/_variables/{i + 1}" for i in range(len(named))}
    assert len(named) == 2 * len(generator.trainable_variables)
    table = [n for n, v in generator_names(generator) if v.trainable]
    wq = 2 * table.index("generator/block_8/attn/wq/kernel")
    for number, part in ((wq + 1, "momentum"), (wq + 2, "velocity")):
        path = named[f"g_optimizer/_variables/{number}"].path
        assert path.endswith(f"block_8_attention_query_kernel_{part}")


def test_differences_are_counted_and_the_first_are_named(generator, arrays):
    renamed = {f"x{name}" if "block_8/" in name else name: a for name, a in arrays.items()}
    renamed["generator/ch_conv/bias"] = np.zeros(4, np.float32)
    shapes = {name: variable.shape for name, variable in generator_names(generator)}
    text = tensor_problems(renamed, shapes)
    moved = sum("block_8/" in name for name in arrays)
    assert f"{moved} missing (generator/block_8/attn/wq/kernel; " in text
    assert f"; and {moved - 3} more), 1 of another shape (generator/ch_conv/bias is (4,), " in text
    assert "expected (3,)" in text and f"{moved} unknown (" in text and "\n" not in text


def test_nothing_is_assigned_if_something_is_missing(generator, arrays):
    before = generator.to_rgb.bias.numpy()
    changed = {name: a + 1.0 for name, a in arrays.items()}
    del changed["generator/init/layer_with_weights-0/kernel"]
    with pytest.raises(ValueError, match="1 missing"):
        load_official(generator_names(generator), changed)
    np.testing.assert_array_equal(generator.to_rgb.bias, before)


def test_fields_become_flags_and_flags_fields():
    config = lada_fields.parse_config({**CONFIG, "dec_dim": False, "bcr": True}, "config.json")
    flags = lada_fields.flags_of(config, "config.json")
    assert flags["g_widths"] == "16,16,16" and flags["g_decoder_widths"] == ""
    assert flags["bcr"] == "True" and flags["r1_weight"] == "0.0001" and flags["beta1"] == "0.5"
    back = lada_fields.config_of(flags, "flags.cfg")
    assert back["dec_dim"] is False and back["g_dim"] == [16, 16, 16] and back["bcr"] is True
    assert {**CONFIG, **back} == back


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"g_dim": None}, "g_dim=None; give a list of positive integers"),
        ({"d_out_dim": False}, "d_out_dim=False; give a list of positive integers"),
        ({"img_size": True}, "img_size=True; give a positive integer"),
        ({"batch_size": 0}, "batch_size=0; give a positive integer"),
        ({"bcr": "yes"}, "bcr='yes'; give true or false"),
        ({"d_heads": 2.5}, "d_heads=2.5; give a positive integer"),
        ({"d_heads": 2**40}, "d_heads=1099511627776; give a positive integer"),
        ({"g_lr": math.inf}, "g_lr=inf; give a number"),
    ],
)
def test_unusable_fields_are_named(change, message):
    with pytest.raises(InputError, match=message):
        lada_fields.parse_config({**CONFIG, **change}, "config.json")


def test_a_missing_field_and_two_that_are_one_here_are_named():
    with pytest.raises(InputError, match="no field 'd_mlp'"):
        fields = {k: v for k, v in CONFIG.items() if k != "d_mlp"}
        lada_fields.parse_config(fields, "config.json")
    config = lada_fields.parse_config({**CONFIG, "d_beta1": 0.0}, "config.json")
    with pytest.raises(InputError, match=r"d_beta1=0\.0, but --beta1=0\.5"):
        lada_fields.flags_of(config, "config.json")


@pytest.fixture
def folder(tmp_path, arrays):
    values = {
        **arrays,
        "g_optimizer/_iterations": np.int64(3),
        "g_optimizer/_learning_rate": np.float32(1e-3),
        "g_optimizer/_variables/1": np.full(2, 4, np.float32),
        "g_optimizer/_variables/2": np.full(2, 5, np.float32),
        "d_optimizer/_iterations": np.int64(3),
        "d_optimizer/_variables/1": np.zeros(2, np.float32),
        "d_optimizer/_variables/2": np.zeros(2, np.float32),
        "n_images": np.int32(24),
        "fid": np.float32(7),
        "save_counter": np.int64(1),
    }
    path = tmp_path / "official"
    path.mkdir()
    lada_folder.write_folder(path, CONFIG, values)
    return path, values


def test_what_is_written_is_read(folder):
    path, values = folder
    read = lada_folder.read_arrays(path)
    assert read.keys() == values.keys()
    for name, value in values.items():
        assert read[name].dtype == value.dtype
        np.testing.assert_array_equal(read[name], value, err_msg=name)
    assert set(lada_folder.read_arrays(path, ("n_images", "fid"))) == {"n_images", "fid"}


def test_objects_like_those_of_the_authors_restore_what_is_written(folder):
    path, values = folder
    adam = tf.Module()
    iteration = tf.Variable(0, dtype=tf.int64)
    slots = [tf.Variable(tf.zeros(2)) for _ in range(2)]
    adam._variables, adam._iterations = [iteration, *slots], iteration
    adam._momentums, adam._velocities = slots[:1], slots[1:]
    images = tf.Variable(0)
    name = tf.train.latest_checkpoint(str(path / lada_folder.CHECKPOINTS))
    checkpoint = tf.train.Checkpoint(g_optimizer=adam, n_images=images)
    checkpoint.restore(name).assert_existing_objects_matched().expect_partial()
    assert (int(iteration), int(images)) == (3, 24)
    np.testing.assert_array_equal(slots[0], values["g_optimizer/_variables/1"])
    np.testing.assert_array_equal(slots[1], values["g_optimizer/_variables/2"])


def test_damaged_folders_are_one_line(folder):
    path, _ = folder
    checkpoints = path / lada_folder.CHECKPOINTS
    data = checkpoints / "ckpt-24.data-00000-of-00001"
    content = data.read_bytes()
    for broken in (content[: len(content) // 2], content[:100] + b"\0" * (len(content) - 100)):
        data.write_bytes(broken)
        with pytest.raises(InputError, match="damaged"):
            lada_folder.read_arrays(path)
    index = checkpoints / "ckpt-24.index"
    index.write_bytes(index.read_bytes()[:20])
    with pytest.raises(InputError, match="damaged"):
        lada_folder.read_arrays(path)
    index.unlink()
    with pytest.raises(InputError, match="no checkpoint; it needs"):
        lada_folder.read_arrays(path)
    (path / "config.json").write_text("{")
    with pytest.raises(InputError, match="this JSON file cannot be read"):
        lada_folder.read_config(path)
    (path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="give a JSON object, not list"):
        lada_folder.read_config(path)
    (path / "config.json").unlink()
    with pytest.raises(InputError, match="this JSON file cannot be read"):
        lada_folder.read_config(path)


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    (tmp_path / lada_folder.CHECKPOINTS).mkdir()
    other = tf.train.Checkpoint(model=tf.Variable(1.0))
    other.save(str(tmp_path / lada_folder.CHECKPOINTS / "ckpt"))
    with pytest.raises(InputError, match="no LadaGAN checkpoint: 1 unknown"):
        lada_folder.read_arrays(tmp_path)


def test_config_written_is_json(folder):
    assert json.loads((folder[0] / "config.json").read_text()) == CONFIG
