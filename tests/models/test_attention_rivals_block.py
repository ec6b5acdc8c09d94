"""LadaGAN's block around each attention of the ablation: what is the same."""

import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.models.lada.ladaformer import Ladaformer

B, N, D, H = 2, 16, 8, 2  # a grid of 4 x 4 tokens
SIZES = {"rank": 5, "window": 2}


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N, D))


def number(tensor):
    return ops.convert_to_numpy(tensor)


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
