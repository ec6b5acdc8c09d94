"""The authors' checkpoints become networks and runs that give their recorded outputs, and go back.

    python -m pytest tests/test_convert.py --fixtures-dir=DIR

reads every DIR/ckpt_*/, each with config.json, best-training-checkpoints/ and expected.npz.
"""

import json
import pathlib
import re
import shutil

import golden_sets
import numpy as np
import pytest
import tensorflow as tf
from paper_sizes import zero_weights
from tensorflow.core.protobuf import trackable_object_graph_pb2

from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official import lada_fields, lada_folder, lada_runs
from ladagan_tf.official.lada_names import discriminator_names, generator_names
from ladagan_tf.runs.checkpoints import find_checkpoint, read_part
from ladagan_tf.sampling import opening

TOLERANCE = 1e-5


def pytest_generate_tests(metafunc):
    if "folder" in metafunc.fixturenames:
        folders = sorted(golden_sets.find(metafunc.config, "ladagan_checkpoint").glob("ckpt_*"))
        metafunc.parametrize("folder", folders, ids=lambda path: path.name, scope="module")


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def run_flags(folder, **more):
    config = lada_folder.read_config(folder)
    flags = lada_fields.flags_of(config, folder / "config.json")
    return {**flags, **lada_runs.learning_rates(folder), "precision": "float32", **more}


def converted(folder, out):
    lada_runs.write_run(folder, out, run_flags(folder))
    return out


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return converted(folder, tmp_path_factory.mktemp("runs") / "of" / "official")


def values(folder):
    """Every name TensorFlow sees in an official folder, but for the object graph, to its value."""
    reader = tf.train.load_checkpoint(str(folder / "best-training-checkpoints"))
    names = reader.get_variable_to_shape_map()
    assert lada_folder.GRAPH in names
    return {name: reader.get_tensor(name) for name in names if name != lada_folder.GRAPH}


def assert_close(actual, expected, what):
    difference = np.max(np.abs(np.asarray(actual, np.float64) - expected))
    print(f"{what}: {difference:.1e}")
    assert np.shape(actual) == expected.shape and difference <= TOLERANCE, what


def test_networks_give_the_recorded_outputs(folder):
    expected = np.load(folder / "expected.npz")
    averaged = lada_runs.open_official(folder)
    images, maps = averaged.attention_maps(expected["z"])
    assert_close(images, expected["ema_image"], "averaged generator")
    assert_close(averaged(expected["z"]), expected["ema_image"], "averaged generator, call")
    for weights in maps:
        side = round(weights.shape[2] ** 0.5)
        assert_close(weights, expected[f"ema_attn_{side}"], f"attention {side}")
    generator = lada_runs.open_official(folder, "generator")
    assert_close(generator(expected["z"]), expected["generator_image"], "trained generator")
    discriminator = lada_runs.open_official(folder, "discriminator")
    logits = discriminator(expected["ema_image"])
    assert_close(logits, expected["d_logits_of_ema_image"], "discriminator")


def test_a_run_gives_the_recorded_outputs(folder, run, eagerly):
    expected = np.load(folder / "expected.npz")
    for ema, name in ((True, "ema_image"), (False, "generator_image")):
        images = opening.open_run(run, ema=ema).generate(expected["z"])
        assert_close(images, expected[name], name)
    discriminator = lada_runs.open_run_part(run, "best", "discriminator")
    assert_close(
        discriminator(expected["ema_image"]), expected["d_logits_of_ema_image"], "discriminator"
    )


def test_networks_of_64_pixels_give_the_recorded_outputs(tmp_path):
    """From a folder made of recorded weights: G's go to the averaged generator, half to G."""
    recorded = golden_sets.GOLDEN / "ladagan"
    meta = json.loads((recorded / "meta.json").read_text())
    weights = {}
    for name in ("models_32", "models_64"):  # the second holds what differs from the first
        with np.load(recorded / f"{name}.npz") as file:
            weights |= dict(file)
    arrays = {"n_images": np.int32(800)}
    for name in meta["variables"]["models_64"]:
        arrays[name] = weights[name]
        if name.startswith("generator/"):
            arrays |= {f"ema_{name}": weights[name], name: 0.5 * weights[name]}
    config = {"img_size": 64, "batch_size": 2, **meta["config"]}
    config["d_enc_dim"] = meta["d_enc_dim"]["64"]
    lada_folder.write_folder(tmp_path, config, arrays)
    z, images = weights["in/z"], weights["out/g_image"]
    averaged, maps = lada_runs.open_official(tmp_path).attention_maps(z)
    assert_close(averaged, images, "averaged generator")
    for side, attention in zip((8, 16, 32), maps, strict=True):
        assert_close(attention, weights[f"out/g_attn_{side}"], f"attention {side}")
    generator = lada_runs.open_official(tmp_path, "generator")
    assert np.max(np.abs(generator(z) - images)) > 0.01
    discriminator = lada_runs.open_official(tmp_path, "discriminator")
    for kind, given in (("real", weights["in/images"]), ("fake", images)):
        logits = weights[f"out/d_logits_{kind}_inference"]  # up to 10
        np.testing.assert_allclose(discriminator(given), logits, rtol=TOLERANCE, atol=TOLERANCE)


def test_every_value_goes_there_and_back(folder, run, tmp_path):
    back = tmp_path / "back"
    count = lada_runs.write_official(run, back)
    ours, theirs = values(back), values(folder)
    assert ours.keys() == theirs.keys() and len(ours) == count
    for name, value in theirs.items():
        assert np.asarray(ours[name]).dtype == np.asarray(value).dtype, name
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    configs = [json.loads((path / "config.json").read_text()) for path in (back, folder)]
    assert configs[0] == configs[1]
    newest = [
        tf.train.latest_checkpoint(str(p / "best-training-checkpoints")) for p in (back, folder)
    ]
    assert pathlib.Path(newest[0]).name == pathlib.Path(newest[1]).name


@pytest.mark.parametrize(
    ("part", "names", "root"),
    [("generator", generator_names, "g"), ("discriminator", discriminator_names, "d")],
)
def test_the_numbers_of_the_optimizers_follow_the_name_table(folder, part, names, root):
    """The official graph names each optimizer variable after the weight it belongs to."""
    reader = tf.train.load_checkpoint(str(folder / "best-training-checkpoints"))
    graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor(lada_folder.GRAPH)
    )
    full = {
        a.checkpoint_key.removesuffix(lada_folder.SUFFIX): a.full_name
        for node in graph.nodes
        for a in node.attributes
    }
    network = lada_runs.open_official(folder, part)
    table = [name for name, variable in names(network) if variable.trainable]
    for i, name in enumerate(table):
        for number, kind in ((2 * i + 1, "m"), (2 * i + 2, "v")):
            slot = full[f"{root}_optimizer/_variables/{number}"]
            assert slot.split(f"/{kind}/", 1)[1] == full[name].removesuffix(":0"), name


def test_a_convolutional_decoder_goes_there_and_back(tmp_path):
    config = {
        "img_size": 64, "batch_size": 8, "noise_dim": 8, "g_dim": [16, 16, 16],
        "g_heads": [2, 2, 2], "g_mlp": [8, 8, 8], "dec_dim": [8], "d_enc_dim": [8, 8, 16],
        "d_out_dim": [16, 16], "d_heads": 2, "d_mlp": 16,
    }  # fmt: skip
    sizes = lada_fields.parse_config(config, "config.json")
    generator = Generator(**lada_fields.arguments(lada_fields.GENERATOR, sizes))
    discriminator = Discriminator(**lada_fields.arguments(lada_fields.DISCRIMINATOR, sizes))
    names = [
        *generator_names(generator),
        *generator_names(generator, "ema_generator"),
        *discriminator_names(discriminator),
    ]
    rng = np.random.default_rng(0)
    arrays = {name: rng.normal(size=v.shape).astype(np.float32) for name, v in names}
    assert "generator/dec/layer_with_weights-1/moving_variance" in arrays
    arrays |= {name: kind(800) for name, kind in lada_folder.BOOKKEEPING.items()}
    (tmp_path / "official").mkdir()
    lada_folder.write_folder(tmp_path / "official", config, arrays)
    run = converted(tmp_path / "official", tmp_path / "run")
    lada_runs.write_official(run, tmp_path / "again")
    back = lada_folder.read_arrays(tmp_path / "again")
    slots = 2 * (len(generator.trainable_variables) + len(discriminator.trainable_variables))
    assert len(back) == len(arrays) + slots + 4  # each Adam's iteration and learning rate
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array, err_msg=name)


def rewritten(copy, arrays, path):
    """A folder with the config of `copy` and other arrays."""
    path.mkdir()
    lada_folder.write_folder(path, lada_folder.read_json(copy / "config.json"), arrays)
    return path


def test_a_checkpoint_without_optimizers_starts_them_anew(copy, tmp_path):
    kept = [root for root in lada_folder.ROOTS if "optimizer" not in root]
    arrays = lada_folder.read_arrays(copy, kept)
    without = rewritten(copy, arrays, tmp_path / "without")
    found = lada_runs.write_run(without, tmp_path / "run", run_flags(without))
    assert not found["optimizers"]
    checkpoint, _ = find_checkpoint(tmp_path / "run" / "checkpoints", "latest")
    assert not any(np.any(array) for array in read_part(checkpoint, "g_optimizer"))


def test_half_an_optimizer_is_taken_only_if_told_to_leave_it(copy, tmp_path):
    arrays = lada_folder.read_arrays(copy)
    del arrays["d_optimizer/_variables/2"]
    half = rewritten(copy, arrays, tmp_path / "half")
    with pytest.raises(InputError, match=r"1 missing \(d_optimizer/_variables/2\)"):
        lada_runs.write_run(half, tmp_path / "run", run_flags(half))
    found = lada_runs.write_run(half, tmp_path / "run", run_flags(half), optimizers=False)
    assert not found["optimizers"]


def test_config_and_variables_that_disagree_are_listed(copy, tmp_path):
    config = lada_folder.read_json(copy / "config.json")
    config["g_mlp"] = [m + 8 for m in config["g_mlp"]]
    (copy / "config.json").write_text(json.dumps(config))
    message = r"do not agree: \d+ of another shape \(.*expected .*and \d+ more\)"
    with pytest.raises(InputError, match=message):
        lada_runs.open_official(copy)
    with pytest.raises(InputError, match=message):
        lada_runs.write_run(copy, tmp_path / "run", run_flags(copy))
    config["g_heads"] = [3, 3, 3]
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"config\.json: num_heads=.* does not divide"):
        lada_runs.open_official(copy)
    assert not (tmp_path / "run").exists() and not list(tmp_path.glob(".*"))


def test_missing_and_unknown_variables_are_listed(copy, tmp_path):
    arrays = lada_folder.read_arrays(copy)
    del arrays["ema_generator/ch_conv/bias"]
    arrays["ema_generator/extra/kernel"] = np.zeros(3, np.float32)
    changed = rewritten(copy, arrays, tmp_path / "changed")
    message = r"1 missing \(ema_generator/ch_conv/bias\), 1 unknown \(ema_generator/extra/kernel\)"
    with pytest.raises(InputError, match=message):
        lada_runs.open_official(changed)
    with pytest.raises(InputError, match=message):
        lada_runs.write_run(changed, tmp_path / "run", run_flags(changed))


def test_outputs_that_cannot_be_written_leave_nothing(folder, run, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="it exists already"):
        converted(folder, tmp_path / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it cannot be written"):
        converted(folder, tmp_path / "file" / "run")
    with pytest.raises(InputError, match="it exists already"):
        lada_runs.write_official(run, tmp_path / "there")
    assert {path.name for path in tmp_path.iterdir()} == {"there", "file"}


def test_a_damaged_record_of_the_authors_values_is_one_line(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    (run / lada_runs.CARRIED).write_text("{}")
    with pytest.raises(InputError, match=r"official\.json: this record .*KeyError: 'n_images'"):
        lada_runs.write_official(run, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_what_the_format_cannot_hold_is_refused(run, tmp_path):
    run = shutil.copytree(run, tmp_path / "run")
    models = json.loads((run / "models.json").read_text())
    models["generator"]["config"]["attention_residual"] = False
    (run / "models.json").write_text(json.dumps(models))
    with pytest.raises(InputError, match="attention_residual is not True; the official format"):
        lada_runs.write_official(run, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ((Generator, {"depths": (1, 2, 1)}), "depths is not (1, 1, 1)"),
        ((Discriminator, {"depth": 2}), "depth is not 1"),
        ((Generator, {"conv_kernel": 1}), "conv_kernel is not 3"),
    ],
)
def test_networks_that_the_format_cannot_hold_are_refused(changed, said, monkeypatch, tmp_path):
    kind, sizes = changed
    with zero_weights():
        network = kind(**sizes)
    monkeypatch.setattr(lada_runs, "find_checkpoint", lambda *_: (tmp_path, {}))
    monkeypatch.setattr(lada_runs, "open_part", lambda run, found, part, precision: network)
    monkeypatch.setattr(lada_runs, "Generator", kind)
    with pytest.raises(InputError, match=re.escape(f"{said}; the official format holds LadaGAN")):
        lada_runs.write_official(tmp_path / "run", tmp_path / "back")
    assert not (tmp_path / "back").exists()
