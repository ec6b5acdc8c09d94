"""AdversarialModel: what one step changes, draws, EMA, XLA, replicas and half precision."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.sampling.posthoc import exponent
from ladagan_tf.training.lada import LadaObjective

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.training.adversarial import AdversarialModel  # noqa: E402
from ladagan_tf.training.averages import Decay, HalfLife, PowerFunction  # noqa: E402
from ladagan_tf.training.model import sample_draws  # noqa: E402
from ladagan_tf.training.optimizers import FusedAdam  # noqa: E402


@pytest.fixture
def gan(tiny_generator, tiny_discriminator):
    """A compiled AdversarialModel of tiny dense networks."""

    def make(rates=(2e-3, 2e-3), seed=0, objective=None, networks=None, loss_scale=None, **kwargs):
        make_generator, make_discriminator = networks or (tiny_generator, tiny_discriminator)
        objective = objective or LadaObjective(noise_dim=4, resolution=8, policy="translation")
        model = AdversarialModel(
            make_generator(seed=1), make_discriminator(), make_generator(seed=9), objective, seed
        )
        optimizers = [FusedAdam(rate, 0.5, 0.99) for rate in rates]
        if loss_scale:
            scaled = keras.optimizers.LossScaleOptimizer
            optimizers = [scaled(o, initial_scale=loss_scale) for o in optimizers]
        model.compile(*optimizers, **kwargs)
        return model

    return make


@pytest.fixture
def data(rng):
    images = rng.integers(0, 256, (4, 8, 8, 3), dtype="uint8")
    return tf.constant(images), tf.zeros(4, tf.int32)


def copies(network):
    return [np.array(w) for w in network.get_weights()]


def assert_same(actual, expected, **kwargs):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, **{"rtol": 0, "atol": 0, **kwargs})


def moved(network, before):
    return any(np.any(a != b) for a, b in zip(network.get_weights(), before, strict=True))


def run(model, data, steps):
    for _ in range(steps):
        model.train_step(data)
    return model


# ------------------------------------------------------------------------ what a step changes


def test_one_update_of_each_network_changes_only_that_network(gan, data, eagerly):
    for rates, names in (((0.0, 1e-3), ("d",)), ((1e-3, 0.0), ("g",)), ((1e-3, 1e-3), ("d", "g"))):
        model = gan(rates)
        networks = {"g": model.generator, "d": model.discriminator}
        before = {name: copies(network) for name, network in networks.items()}
        run(model, data, 1)
        for name, network in networks.items():
            assert moved(network, before[name]) == (name in names)


def test_the_generator_is_updated_through_the_updated_discriminator(gan, data, eagerly):
    # With no D update G's first gradient is another one.
    frozen, trained = (run(gan((1e-3, rate)), data, 1) for rate in (0.0, 0.5))
    assert_same(*([copies(m.averaged)[1:] for m in (frozen, frozen)]))
    assert frozen.window.results()["d_loss"] == trained.window.results()["d_loss"]
    assert frozen.window.results()["g_loss"] != trained.window.results()["g_loss"]


def test_the_first_adam_step_moves_every_weight_by_the_learning_rate(gan, data, eagerly):
    model = gan((1e-3, 1e-3))
    networks = (model.generator, model.discriminator)
    before = [copies(network) for network in networks]
    run(model, data, 1)
    for network, old in zip(networks, before, strict=True):
        moves = np.concatenate(
            [np.ravel(abs(a - b)) for a, b in zip(network.get_weights(), old, strict=True)]
        )
        assert np.max(moves) < 1.01e-3
        # Epsilon shortens the step only where the gradient is nearly zero.
        assert np.median(moves) == pytest.approx(1e-3, rel=0.02)


def test_a_step_counts_itself_and_its_metrics(gan, data):
    model = gan()
    step = tf.function(model.adversarial_step, autograph=False)
    batch = {"real": scale_images(data[0]), "labels": data[1]}
    every = []
    for i in range(3):
        draws = [
            sample_draws(spec, 4, 0, i, phase)
            for phase, spec in enumerate(
                (model.objective.discriminator_draws(), model.objective.generator_draws())
            )
        ]
        every.append(step(batch, *draws))
    assert int(model.step) == 3
    results = model.window.results()
    of_blocks = {name for name in results if "grad_norm/" in name}
    assert set(results) - of_blocks == {*model.objective.metrics, "d_grad_norm", "g_grad_norm"}
    for name, value in results.items():
        assert value == pytest.approx(np.mean([m[name] for m in every]), rel=1e-5)
    model.window.reset()
    assert np.isnan(list(model.window.results().values())).all()


def test_micro_batches_give_the_same_step(gan, data, eagerly):
    whole, parts = (run(gan(micro_batches=n), data, 2) for n in (1, 2))
    assert_same(copies(whole.generator), copies(parts.generator), atol=1e-4)
    assert_same(copies(whole.discriminator), copies(parts.discriminator), atol=1e-4)


def test_clipping_bounds_the_joint_move_of_each_network(gan, data, eagerly):
    model = gan()
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), clip_norm=0.01)
    networks = (model.generator, model.discriminator)
    before = [copies(network) for network in networks]
    run(model, data, 1)
    for network, old in zip(networks, before, strict=True):
        pairs = zip(network.get_weights(), old, strict=True)
        assert np.sqrt(sum(np.sum((a - b) ** 2) for a, b in pairs)) == pytest.approx(0.01, rel=1e-3)
    assert model.window.results()["d_grad_norm"] > 0.01  # reported before clipping


# ------------------------------------------------------------------------------------------ EMA


def test_the_average_starts_equal_to_the_generator(gan):
    model = gan()
    assert_same(copies(model.averaged), copies(model.generator))


def test_every_average_is_that_of_the_weights_it_saw(gan, data, eagerly):
    """By each profile's own sum, in float64; and the first is what it is without others."""
    further = Decay(0.25), HalfLife(0.008, 0.0), PowerFunction(0.1), PowerFunction(0.05)
    model, alone = gan(further_averages=further), gan()
    seen = [copies(model.generator)]
    for _ in range(3):
        run(alone, data, 1)
        run(model, data, 1)
        seen.append(copies(model.generator))
    assert_same(copies(model.averaged), copies(alone.averaged))
    steps = np.arange(4.0)

    def of_power(sigma_rel):  # nothing is left of the start
        until = steps ** (exponent(sigma_rel) + 1)
        return np.diff(until, prepend=0.0) / until[-1]

    halving = 0.5**0.5  # 4 images of a half-life of 8
    shares = {
        "0.999": np.append(0.999**3, 0.001 * 0.999 ** np.arange(2.0, -1, -1)),
        "0.25": np.append(0.25**3, 0.75 * 0.25 ** np.arange(2.0, -1, -1)),
        "0.008kimg": np.append(halving**3, (1 - halving) * halving ** np.arange(2.0, -1, -1)),
        "sigma_rel:0.1": of_power(0.1),
        "sigma_rel:0.05": of_power(0.05),
    }
    assert model.average_names == [*shares] and [*model.power_averages()] == [0.1, 0.05]
    averages = [model.averaged, *model.further_averages]
    for average, share in zip(averages, shares.values(), strict=True):
        for i, found in enumerate(copies(average)):
            weights = np.stack([at[i].astype(np.float64) for at in seen])
            np.testing.assert_allclose(found, np.tensordot(share, weights, 1), rtol=1e-5, atol=1e-6)


def test_the_average_after_n_steps_is_the_closed_form(gan, data, eagerly):
    model = gan(ema_decay=0.75)
    expected = copies(model.generator)
    for _ in range(3):
        run(model, data, 1)
        expected = [
            0.75 * e + 0.25 * w for e, w in zip(expected, copies(model.generator), strict=True)
        ]
    assert_same(copies(model.averaged), expected, atol=1e-6)


def test_a_half_life_in_kimg_replaces_the_constant_decay(gan, data, eagerly):
    model = gan(ema_decay=0.0, ema_halflife_kimg=0.004, ema_rampup=0.0)  # 4 images: one step
    start = copies(model.generator)
    run(model, data, 1)
    expected = [(a + b) / 2 for a, b in zip(start, copies(model.generator), strict=True)]
    assert_same(copies(model.averaged), expected, atol=1e-6)


# ------------------------------------------------------------------------------- reproducibility


def test_the_same_seed_repeats_three_steps_bit_for_bit(gan, data):
    first, second, other = (run(gan(seed=seed), data, 3) for seed in (0, 0, 1))
    assert_same(copies(first.generator), copies(second.generator))
    assert_same(copies(first.averaged), copies(second.averaged))
    assert list(first.window.results().values()) == list(second.window.results().values())
    assert moved(other.generator, copies(first.generator))


# ---------------------------------------------------------------------------------- bad steps


def test_the_first_step_with_a_non_finite_loss_is_remembered(gan, data, eagerly):
    model = run(gan(), data, 2)
    assert int(model.bad_step) == -1
    kernel = model.discriminator.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    run(model, data, 3)
    assert int(model.bad_step) == 2


# ------------------------------------------------------------------------------------------ XLA


def test_compiled_and_plain_steps_agree(gan, data):
    """Networks under XLA: test_ladagan_gradients.py; recorded gradients: test_parity_ladagan.py."""
    plain, compiled = (run(gan(jit=jit), data, 2) for jit in (False, True))
    found, expected = (list(m.window.results().values()) for m in (compiled, plain))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for name in ("generator", "discriminator", "averaged"):
        assert_same(copies(getattr(compiled, name)), copies(getattr(plain, name)), atol=1e-5)


# ---------------------------------------------------------------------------- half precision


def lada_networks(dtype):
    def make_generator(seed=1):
        keras.utils.set_random_seed(seed)
        return Generator(64, 4, (8, 8, 8), (2, 2, 2), (4, 4, 4), (4,), dtype=dtype)

    def make_discriminator():
        keras.utils.set_random_seed(3)
        return Discriminator(64, (4, 4, 4), (6, 5), 2, 3, dtype=dtype)

    return make_generator, make_discriminator


def test_a_float16_step_is_finite_and_its_average_follows_batch_norm_too(gan, rng, eagerly):
    objective = LadaObjective(noise_dim=4, resolution=64)
    networks = lada_networks(dtype="mixed_float16")
    model = gan(objective=objective, networks=networks, loss_scale=2.0**7, ema_decay=0.5)
    before = copies(model.generator), copies(model.discriminator)
    images = rng.integers(0, 256, (4, 64, 64, 3), dtype="uint8")
    run(model, (tf.constant(images), tf.zeros(4, tf.int32)), 1)
    for network, old in zip((model.generator, model.discriminator), before, strict=True):
        assert moved(network, old)
        assert all(np.all(np.isfinite(w)) for w in network.get_weights())
    assert int(model.bad_step) == -1
    assert all(np.isfinite(v) for v in model.window.results().values())
    for average, weight, start, variable in zip(
        copies(model.averaged), copies(model.generator), before[0], model.generator.weights,
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(average, (start + weight) / 2, rtol=1e-5, atol=1e-6)
        if "moving" in variable.name:
            assert np.any(weight != start), variable.path


def test_loss_scaling_in_float32_changes_neither_metrics_nor_weights(gan, data, eagerly):
    plain, scaled = run(gan(), data, 2), run(gan(loss_scale=2.0**9), data, 2)
    assert_same(copies(scaled.generator), copies(plain.generator), atol=1e-5)
    results = [list(model.window.results().values()) for model in (scaled, plain)]
    np.testing.assert_allclose(*results, rtol=1e-4)


def test_an_overflow_skips_the_update_and_is_no_bad_step(gan, data, eagerly):
    model = gan(loss_scale=3e38)
    kernel = model.discriminator.trainable_variables[2]
    kernel.assign(1e3 * kernel)  # large enough for the scaled gradients to overflow float32
    before = copies(model.discriminator)
    run(model, data, 2)
    assert_same(copies(model.discriminator), before)
    assert int(model.bad_step) == -1
    # Neither in the window's means nor a spike, but counted.
    assert int(model.window.steps) == 0
    assert np.all(keras.ops.convert_to_numpy(model.window.sums) == 0)
    assert np.all(keras.ops.convert_to_numpy(model.spikes.recent) == 0)
    assert model.totals() == {"d_grad_spikes": 0, "g_grad_spikes": 0, "skipped_steps": 2}
    assert any(name.startswith("skipped/") for name in model.state())


def test_skipped_steps_are_told_on_several_devices_too(gan):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        assert gan(loss_scale=2.0**7).totals()["skipped_steps"] == 0
