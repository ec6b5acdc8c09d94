"""FID's Inception: its resize, its pools, the folding of batch norms, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.features.inception import (
    AVERAGE,
    EPSILON,
    Inception,
    fold_batch_norm,
    resize_bilinear_tf1,
)
from ladagan_tf.weights.inception_weights import graph_names

SIZES = [(1, 1), (7, 5), (32, 32), (299, 299), (300, 298), (331, 307), (450, 600)]


def number(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture(scope="module")
def network():
    return Inception()


@pytest.fixture(scope="module")
def tensors(network):
    """The smallest well-formed set: everything one."""
    return {name: np.ones(shape, "float32") for name, shape in network.tensor_shapes().items()}


def some_images(rng, height, width):
    return rng.integers(0, 256, (2, height, width, 3)).astype("float32")


# ----------------------------------------------------------------------------------- resize


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_has_the_bits_of_tf1(tf, rng, height, width):
    images = some_images(rng, height, width)
    ours = number(resize_bilinear_tf1(ops.convert_to_tensor(images), 299, 299))
    theirs = tf.compat.v1.image.resize_bilinear(images, (299, 299)).numpy()
    np.testing.assert_array_equal(ours, theirs)


def test_resize_to_the_same_size_changes_nothing(rng):
    images = some_images(rng, 9, 11)
    np.testing.assert_array_equal(number(resize_bilinear_tf1(images, 9, 11)), images)


def test_resize_keeps_the_first_corner_and_repeats_the_last_row(rng):
    images = some_images(rng, 4, 4)
    resized = number(resize_bilinear_tf1(images, 8, 8))
    np.testing.assert_array_equal(resized[:, ::2, ::2], images)
    np.testing.assert_array_equal(resized[:, -1], resized[:, -2])


def test_resize_compiled_by_xla_is_close(tf, rng):
    images = some_images(rng, 32, 40)
    compiled = tf.function(lambda x: resize_bilinear_tf1(x, 299, 299), jit_compile=True)
    expected = number(resize_bilinear_tf1(images, 299, 299))
    np.testing.assert_allclose(compiled(images).numpy(), expected, rtol=0, atol=1e-4)


def test_a_half_pixel_resize_is_another_one(tf, rng):
    images = some_images(rng, 32, 32)
    ours = number(resize_bilinear_tf1(images, 299, 299))
    assert np.max(np.abs(ours - tf.image.resize(images, (299, 299)).numpy())) > 10


# ---------------------------------------------------------------------------------- network


def test_average_pool_leaves_padding_out_of_the_count():
    pooled = AVERAGE.apply(np.ones((1, 5, 5, 2), "float32"), 3, strides=1, padding="same")
    np.testing.assert_allclose(number(pooled), 1.0, rtol=1e-6)


def test_folding_is_batch_norm_after_the_convolution(rng):
    kernel, x = rng.standard_normal((4, 3, 1, 1)), rng.standard_normal((10, 3))
    gamma, beta, mean = rng.standard_normal((3, 4))
    variance = np.array([0.0, 1e-4, 1.0, 10.0])  # small ones show the epsilon
    convolved = x @ kernel[:, :, 0, 0].T
    expected = gamma * (convolved - mean) / np.sqrt(variance + EPSILON) + beta
    folded, bias = fold_batch_norm(kernel, gamma, beta, mean, variance)
    np.testing.assert_allclose(x @ folded[0, 0] + bias, expected, rtol=1e-5, atol=1e-5)


def test_folding_turns_pytorch_kernels_into_ours():
    kernel = np.arange(2 * 3 * 5 * 7, dtype="float32").reshape(2, 3, 5, 7)
    one, zero = np.ones(2), np.zeros(2)
    folded, _ = fold_batch_norm(kernel, one, zero, zero, one - EPSILON)
    assert folded.shape == (5, 7, 3, 2)
    np.testing.assert_allclose(folded[4, 6, 1, 0], kernel[0, 1, 4, 6], rtol=1e-6)


def test_it_has_472_tensors_of_the_published_size(network):
    shapes = network.tensor_shapes()
    assert len(shapes) == 472
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 23_885_392


def test_stages_have_the_published_sides(network):
    stages = list(network.stages(np.zeros((1, 20, 30, 3), "uint8")))
    assert len(stages) == 18
    assert [x.shape[1] for _, x in stages] == [
        149,
        147,
        147,
        73,
        73,
        71,
        *[35] * 4,
        *[17] * 5,
        8,
        8,
        8,
    ]
    assert stages[-1][1].shape == (1, 8, 8, 2048)


def test_spatial_features_are_seven_channels_of_the_graphs_mixed_6_conv(network, rng):
    name = graph_names()["mixed_6/conv/conv2d_params"]
    assert name == "Mixed_6d.branch1x1.conv.weight"
    for layer in network.convolutions.values():
        for weight in (layer.kernel, layer.bias):
            weight.assign(0.05 * rng.standard_normal(weight.shape, "float32"))
    images = some_images(rng, 20, 20)
    before = next(x for stage, x in network.stages(images) if stage == "Mixed_6c")
    layer = network.convolutions[name.removesuffix(".conv.weight")]
    kernel, bias = (number(w).astype(np.float64) for w in (layer.kernel, layer.bias))
    right = np.maximum(number(before).astype(np.float64) @ kernel[0, 0] + bias, 0.0)[..., :7]
    found = number(network(images)["spatial"])
    assert found.shape == (2, 2023) and 0 < np.mean(right > 0) < 1
    np.testing.assert_allclose(found, right.reshape(2, 17 * 17 * 7), rtol=1e-4, atol=1e-4)


def test_it_computes_in_float32_under_a_mixed_policy():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with shapes_only():
            network = Inception()
    finally:
        keras.config.set_dtype_policy(policy)
    layers = [network.head, *network.convolutions.values()]
    assert {(layer.compute_dtype, layer.variable_dtype) for layer in layers} == {("float32",) * 2}


def test_nothing_in_it_is_trainable(network):
    assert not network.trainable_weights


def test_images_without_three_channels_are_refused(network):
    with pytest.raises(ValueError, match=r"\(B, H, W, 3\), got \(1, 8, 8, 1\)"):
        network(np.zeros((1, 8, 8, 1), "uint8"))


# ---------------------------------------------------------------------------------- loading


def test_loading_ignores_batch_counts(network, tensors):
    network.load_tensors({**tensors, "Conv2d_1a_3x3.bn.num_batches_tracked": np.array(7)})
    first = network.convolutions["Conv2d_1a_3x3"].kernel.numpy()
    np.testing.assert_allclose(first, 1 / np.sqrt(1 + EPSILON), rtol=1e-6)


def test_loading_lists_missing_misshapen_and_unknown_names(network, tensors):
    wrong = dict(tensors)
    for name in [n for n in wrong if n.startswith("Mixed_7c.branch1x1")]:
        del wrong[name]
    wrong["AuxLogits.fc.bias"] = np.ones(3)
    wrong["fc.bias"] = np.ones(1000)
    with pytest.raises(ValueError, match="5 missing") as caught:
        network.load_tensors(wrong)
    message = str(caught.value)
    assert "Mixed_7c.branch1x1.bn.bias" in message and "; and 2 more)" in message
    assert "1 unknown (AuxLogits.fc.bias)" in message
    assert "1 of another shape (fc.bias is (1000,), expected (1008,))" in message


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_weights_that_give_no_finite_numbers_are_refused(network, tensors, value):
    bad = {**tensors, "Mixed_5b.branch1x1.bn.running_var": np.full(64, value, "float32")}
    with pytest.raises(ValueError, match="Mixed_5b_branch1x1 are not finite"):
        network.load_tensors(bad)
