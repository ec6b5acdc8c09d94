"""Samplers follow velocities known in closed form; the network is one of place, time and class."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.flow.networks import FlowGenerator, time_features
from ladagan_tf.models.flow.samplers import EVALUATIONS, SAMPLERS, evaluations
from ladagan_tf.training.autodiff import value_and_grad

SIZES = {"latent_size": 4, "channels": 1, "patch": 2, "width": 8, "depth": 1, "num_heads": 1}
MEAN, STD = 2.0, 0.25


def number(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)


def following(velocity, noise, sampler, steps):
    """What a generator makes of noise by a velocity of ours."""
    generator = FlowGenerator(**SIZES, sampler=sampler, steps=steps)
    generator.velocity = lambda x, t, labels: velocity(x, ops.reshape(t, (-1, 1, 1, 1)))
    return number(generator(noise)).reshape(noise.shape)


def of_gaussian(x, t):
    """The velocity of x_t = (1 - t) x_0 + t x_1 for x_1 of N(MEAN, STD^2): E[x_1 - x_0 | x_t]."""
    variance = (1.0 - t) ** 2 + (t * STD) ** 2
    return MEAN + (t * STD**2 - (1.0 - t)) / variance * (x - t * MEAN)


@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2), ("heun_euler", 2)])
def test_on_a_gaussian_half_the_step_is_a_half_or_a_quarter_of_the_error(noise, sampler, order):
    exact = MEAN + STD * noise  # where the flow takes x_0
    errors = [
        np.abs(following(of_gaussian, noise, sampler, steps) - exact).mean() for steps in (16, 32)
    ]
    assert errors[0] / errors[1] == pytest.approx(2.0**order, rel=0.1)
    assert errors[1] < 0.1


@pytest.mark.parametrize("steps", [1, 3])
def test_straight_lines_are_followed_exactly_in_any_number_of_steps(noise, steps):
    """To a single image; and where the velocity is linear in time heun is exact, too."""
    to_one = following(lambda x, t: (MEAN - x) / (1.0 - t), noise, "euler", steps)
    np.testing.assert_allclose(to_one, np.full_like(noise, MEAN), rtol=1e-5)
    bent = following(lambda x, t: x * 0.0 + 2.0 * t, noise, "heun", steps)
    np.testing.assert_allclose(bent, noise + 1.0, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [4, 8])
def test_heun_leaves_half_a_step_s_noise_and_a_last_step_of_euler_none(noise, steps):
    """Of images that hardly differ: x_1 of N(MEAN, 0.001^2)."""

    def almost_one(x, t):
        variance = (1.0 - t) ** 2 + (t * 1e-3) ** 2
        return MEAN + (t * 1e-6 - (1.0 - t)) / variance * (x - t * MEAN)

    left = [(following(almost_one, noise, name, steps) - MEAN) for name in ("heun", "heun_euler")]
    np.testing.assert_allclose(left[0] / noise, 0.5 / steps, rtol=0.05)
    assert np.abs(left[1] / noise).max() < 2e-3


def test_a_sample_costs_the_evaluations_that_are_counted():
    for step, count in EVALUATIONS.items():
        calls = []
        step(lambda x, t, calls=calls: calls.append(t) or x, 1.0, 0.5, 0.25)
        assert calls == [0.5, 0.75][:count]
    counts = {"euler": (1, 7), "heun": (2, 14), "heun_euler": (1, 13)}
    assert counts == {name: (evaluations(name, 1), evaluations(name, 7)) for name in SAMPLERS}


def test_times_are_embedded_as_in_the_formula():
    t = np.array([0.0, 0.3, 1.0])
    angles = 1000.0 * t[:, None] * 10_000.0 ** (-np.arange(128) / 128)
    expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(number(time_features(t)), expected, atol=1e-4)


def test_the_velocity_depends_on_place_time_and_class_and_every_weight_learns():
    keras.utils.set_random_seed(0)
    network = FlowGenerator(**SIZES, num_classes=2)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(0, 0.3, w.shape) for w in network.get_weights()])
    x, t = rng.normal(size=(2, 4, 4, 1)).astype(np.float32), np.array([0.2, 0.7], np.float32)
    labels = np.array([0, 1])
    first = number(network.velocity(x, t, labels))
    assert first.shape == x.shape and first.dtype == np.float32
    for other in ((x[:, ::-1], t, labels), (x, t[::-1], labels), (x, t, labels[::-1])):
        given = [np.ascontiguousarray(part) for part in other]
        assert not np.allclose(number(network.velocity(*given)), first, atol=1e-4)

    def loss():
        return ops.mean(ops.square(network.velocity(x, t, labels))), ()

    _, gradients = value_and_grad(loss, network)
    for gradient, weight in zip(gradients, network.trainable_variables, strict=True):
        assert np.abs(number(gradient)).max() > 0, weight.path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "rk4"}, "sampler='rk4': give one of euler, heun"),
        ({"steps": 0}, "sampler_steps=0: give a whole number from 1 to 10,000"),
        ({"steps": 2.5}, "sampler_steps=2.5: give a whole number"),
        ({"patch": 3}, "patch=3 does not divide the latent_size 4"),
        ({"class_names": ("a",)}, "class_names: 1 of num_classes=0 classes"),
    ],
)
def test_what_cannot_be_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        FlowGenerator(**{**SIZES, **changes})


def test_latents_of_another_size_are_no_batch_of_another_length():
    network = FlowGenerator(**SIZES)
    with pytest.raises(ValueError, match=r"z of shape \(2, 32\): give \(B, 16\)"):
        network(np.zeros((2, 32), np.float32))
    with pytest.raises(ValueError, match=r"x of shape \(2, 8, 8, 1\): give \(B, 4, 4, 1\)"):
        network.velocity(np.zeros((2, 8, 8, 1), np.float32), np.zeros(2, np.float32))


def test_a_velocity_of_predicted_data_leads_there_in_the_time_that_is_left():
    """(x_1 - x) / (1 - t), and no faster than with 0.05 left; every step of euler stays in line."""
    keras.utils.set_random_seed(0)
    networks = [FlowGenerator(**SIZES, predicts=name) for name in ("velocity", "data")]
    rng = np.random.default_rng(0)
    weights = [rng.normal(0, 0.3, w.shape) for w in networks[0].get_weights()]
    for network in networks:
        network.set_weights(weights)
    x, t = rng.normal(size=(3, 4, 4, 1)).astype(np.float32), np.array([0.0, 0.5, 1.0], np.float32)
    made, velocity = (number(network.velocity(x, t)) for network in networks)
    left = np.array([1.0, 0.5, 0.05]).reshape(3, 1, 1, 1)
    np.testing.assert_allclose(velocity, (made - x) / left, rtol=1e-4, atol=1e-5)


def test_what_a_network_predicts_is_kept_and_checked(tmp_path):
    network = FlowGenerator(**SIZES, predicts="data")
    network.save(tmp_path / "flow.keras")
    assert keras.saving.load_model(tmp_path / "flow.keras").predicts == "data"
    with pytest.raises(ValueError, match="predicts='noise' is not one of velocity, data"):
        FlowGenerator(**SIZES, predicts="noise")
