"""GAT's small layers against their formulas in float64 NumPy."""

import keras
import numpy as np
import pytest
from gat_in_numpy import B, C, G, H, T, affine, assert_close, number, rms_norm, silu
from keras import ops

from ladagan_tf.models.classes import ClassTable, rms_normalize
from ladagan_tf.models.gat.attention import GatAttention
from ladagan_tf.models.gat.blocks import DiscriminatorBlock, GeneratorBlock, LevelHead
from ladagan_tf.models.gat.layers import (
    EqualLinear,
    RMSNorm,
    SwiGLU,
    swiglu_width,
)
from ladagan_tf.models.gat.mapping import Mapping


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((B, T, C))


def test_rms_norm_is_the_formula_with_its_epsilon_and_weight(built, tokens):
    layer = built(RMSNorm(epsilon=0.5, dtype="float64"), tokens.shape)
    assert_close(layer(tokens), rms_norm(tokens, 0.5) * number(layer.weight))
    assert_close(rms_normalize(ops.convert_to_tensor(tokens)), rms_norm(tokens))


def test_rms_norm_of_half_precision_is_computed_in_float32():
    x = ops.cast(np.full((1, 8), 1e-4), "float16")  # its square is below float16's range
    assert x.dtype == rms_normalize(x, 0.0).dtype
    assert_close(rms_normalize(x, 0.0), np.ones((1, 8)), 1e-3)


def test_equal_linear_is_a_hundredth_of_what_it_stores(built, tokens):
    layer = built(EqualLinear(5, dtype="float64"), tokens.shape)
    expected = tokens @ (0.01 * number(layer.kernel)) + 0.01 * number(layer.bias)
    assert_close(layer(tokens), expected)


def test_equal_linear_starts_as_an_ordinary_layer_stored_a_hundredfold(rng):
    layer = EqualLinear(300)
    layer.build((None, 100))
    assert np.std(number(layer.kernel)) == pytest.approx(100 * np.sqrt(2 / 400), rel=0.05)
    x = rng.standard_normal((500, 100)).astype("float32")
    assert np.std(number(layer(x))) == pytest.approx(np.sqrt(100 * 2 / 400), rel=0.05)


def test_class_table_gives_rows_and_starts_small():
    layer = ClassTable(50, 40)
    layer.build()
    np.testing.assert_array_equal(layer(np.array([3, 49, 3])), number(layer.table)[[3, 49, 3]])
    assert np.std(number(layer.table)) == pytest.approx(0.02, rel=0.1)


def test_class_table_has_a_dense_gradient_also_for_repeated_labels(tf):
    layer = ClassTable(5, 2)
    layer.build()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant([3, 1, 3])))
    gradient = tape.gradient(total, layer.table.value)
    np.testing.assert_array_equal(gradient, np.array([0, 1, 0, 2, 0])[:, None] * np.ones(2))


def test_swiglu_is_the_formula(built, tokens):
    layer = built(SwiGLU(dtype="float64"), tokens.shape)
    gate, value = np.split(affine(layer.expand, tokens), 2, axis=-1)
    assert_close(layer(tokens), affine(layer.contract, silu(gate) * value))


def test_swiglu_widths_are_those_of_the_four_sizes():
    assert [swiglu_width(c) for c in (384, 768, 1024, 1152)] == [1024, 2048, 2730, 3072]


@pytest.mark.parametrize(
    "layer",
    [
        RMSNorm(0.5),
        EqualLinear(4),
        ClassTable(3, 4),
        SwiGLU(),
        GatAttention(H, G, fused=False),
        GeneratorBlock(H, G, fused=False),
        DiscriminatorBlock(H, G),
        LevelHead(G, 2, 3),
        Mapping(5, 6, 7, official_guidance=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_config_rebuilds_the_layer(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()
