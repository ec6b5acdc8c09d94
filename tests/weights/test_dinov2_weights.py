"""DINOv2 presets: what is loaded is told by its tensors, what cannot be loaded by one line."""

import sys

import keras
import numpy as np
import pytest
from tiny_dinov2 import FEATURES, save_preset

from ladagan_tf.errors import InputError
from ladagan_tf.models.features.dinov2 import DinoV2
from ladagan_tf.weights.dinov2_weights import load, tensors
from ladagan_tf.weights.reading import content_sha256

FLAG = "teacher=dinov2"


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_preset(tmp_path_factory.mktemp("dinov2") / "tiny")


def test_a_preset_for_518_px_takes_images_of_224(preset):
    network = DinoV2(load(preset, FLAG)[0])
    cls, patches = network(network.prepared(np.zeros((2, 32, 32, 3), "uint8")))
    assert cls.shape == (2, FEATURES) and patches.shape == (2, 256, FEATURES)
    assert network.grid == 16 and network.features == FEATURES
    assert not network.backbone.trainable_variables


def test_the_hash_is_that_of_the_tensors(preset, tmp_path):
    network, sha256 = load(preset, FLAG)
    network.save_to_preset(str(tmp_path / "again"))
    assert load(str(tmp_path / "again"), FLAG)[1] == sha256
    DinoV2(network, antialias_positions=True)  # what is made of the learned positions is no weight
    assert content_sha256(tensors(network)) == sha256
    assert load(save_preset(tmp_path / "other", seed=1), FLAG)[1] != sha256


def test_keras_s_own_policy_does_not_reach_it(preset):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert load(preset, FLAG)[0].compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")


def test_without_keras_hub_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"^teacher=dinov2: .* pip install 'keras-hub>="):
        load("dinov2_base", FLAG)


@pytest.mark.parametrize(
    "name, message",
    [
        ("no/such", "^teacher=dinov2:no/such: no such folder$"),
        ("dinov9", "^teacher=dinov2: DINOv2 cannot be loaded from dinov9 .*give teacher=dinov2:F"),
    ],
)
def test_a_preset_that_is_not_there_is_one_line(name, message):
    pytest.importorskip("keras_hub")
    with pytest.raises(InputError, match=message) as caught:
        load(name, FLAG)
    assert "\n" not in str(caught.value)
