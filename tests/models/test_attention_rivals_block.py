"""LadaGAN's block around each attention of the ablation: what is the same, saved and loaded."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.attention import ATTENTIONS, SCORES
from ladagan_tf.models.lada.ladaformer import Ladaformer

B, N, D, H, Z = 2, 16, 8, 2, 3  # a grid of 4 x 4 tokens
SIZES = {"rank": 5, "window": 2}


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N, D))


def number(tensor):
    return ops.convert_to_numpy(tensor)


@keras.saving.register_keras_serializable(package="tests")
class OneBlock(keras.Model):
    """A model of one modulated Ladaformer."""

    def __init__(self, attention, score="full", **kwargs):
        super().__init__(**kwargs)
        self.kinds = {"attention": attention, "score": score}
        sizes = {"modulation": "sln", "mlp_residual": False, **SIZES}
        self.block = Ladaformer(6, H, **self.kinds, **sizes, name="block")
        self.block.build((None, N, D), (None, Z))
        self.built = True

    def call(self, x):
        return self.block(x, x[:, 0, :Z])[0]

    def get_config(self):
        return {**super().get_config(), **self.kinds}


@pytest.mark.parametrize(
    ("kind", "score"), [("additive", SCORES[1]), *((kind, SCORES[0]) for kind in ATTENTIONS)]
)
def test_a_saved_block_is_the_same_block(tmp_path, randomised, x, kind, score):
    model = randomised(OneBlock(kind, score))
    model.save(tmp_path / "block.keras")
    loaded = keras.saving.load_model(tmp_path / "block.keras")
    x = x.astype("float32")
    np.testing.assert_array_equal(number(loaded(x)), number(model(x)))
    assert loaded.block.get_config() == model.block.get_config()
    assert type(loaded.block.attention) is type(model.block.attention)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_without_its_mlp_a_block_is_tokens_plus_attention(built, x, kind):
    block = Ladaformer(6, H, attention=kind, **SIZES, dtype="float64")
    block = built(block, (None, N, D))
    for weight in block.contract.weights:
        weight.assign(np.zeros(weight.shape))
    tokens, weights = block(x)
    mixed, expected_weights = block.attention(block.attention_norm(x))
    np.testing.assert_allclose(number(tokens), x + number(mixed), rtol=1e-5, atol=1e-6)
    if weights is not None:
        np.testing.assert_array_equal(number(weights), number(expected_weights))
    assert block.compute_output_shape(x.shape)[0] == tokens.shape


def test_a_block_without_the_choice_in_its_config_is_additive():
    config = Ladaformer(6, H).get_config()
    for key in ("attention", "rank", "window"):
        del config[key]  # as saved before there was a choice
    block = Ladaformer.from_config(config)
    block.build((None, N, D))
    assert [weight.name for weight in block.attention.weights] == [
        f"{name}_{part}"
        for name in ("query", "key", "value", "score", "output")
        for part in ("kernel", "bias")
    ]
