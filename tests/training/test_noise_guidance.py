"""Noise guidance: levels, given and learned, and one chain from the cleanest upward."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.latent_views import add_noise, noise_levels
from ladagan_tf.training.schedules import AS_CONFIGURED, NoiseSpacing, adaptations, adapted
from ladagan_tf.training.step import generator_gradients


@pytest.fixture
def noise(rng):
    return rng.normal(size=(2, 3, 3, 4, 4)).astype(np.float32)


def test_the_four_levels_are_the_papers():
    np.testing.assert_allclose(noise_levels(4), [0.885, 0.76, 0.51, 0.01], atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_levels_ends_at_the_cleanest(count):
    levels = noise_levels(count)
    assert levels[-1] == pytest.approx(0.01) and np.all(np.diff(levels) < 0)


def test_without_noise_each_stage_is_scaled_down(rng, noise):
    stages = rng.normal(size=noise.shape).astype(np.float32)
    expected = (1 - noise_levels(4))[:, None] * stages
    np.testing.assert_allclose(add_noise(stages, 0 * noise), expected, rtol=1e-5, atol=1e-6)


def test_each_level_of_a_real_latent_is_a_further_noised_copy_of_the_next(rng, noise):
    latent = rng.normal(size=(2, 3, 3, 1, 4)).astype(np.float32)
    noised = np.asarray(add_noise(np.repeat(latent, 4, axis=3), noise))
    t = noise_levels(4)
    for k in range(3):
        kept = (1 - t[k]) / (1 - t[k + 1])
        fresh = np.sqrt(t[k] ** 2 - t[k + 1] ** 2 * kept**2)
        expected = kept * noised[:, :, :, k + 1] + fresh * noise[:, :, :, k]
        np.testing.assert_allclose(noised[:, :, :, k], expected, rtol=1e-5, atol=1e-6)


def test_noise_has_its_level_and_neighbours_are_correlated(rng):
    noise = rng.normal(size=(1, 160, 160, 4, 4)).astype(np.float32)
    noised = np.asarray(add_noise(np.zeros_like(noise), noise)).reshape(-1, 4, 4)
    samples = noised.transpose(0, 2, 1).reshape(-1, 4)  # (102400, K)
    np.testing.assert_allclose(samples.std(0), noise_levels(4), rtol=0.01)
    neighbours = np.corrcoef(samples.T)[range(3), range(1, 4)]
    t = noise_levels(4)
    kept = (1 - t[:3]) / (1 - t[1:])
    np.testing.assert_allclose(neighbours, kept * t[1:] / t[:3], atol=0.01)  # .41, .33, .01


SCHEDULES = {  # the information a_k of the first level m to the last, p = k / (K - 1) of the way
    "exponential": lambda m, p: np.exp((1 - p) * np.log(m)),
    "linear": lambda m, p: (1 - p) * m + p,
    "cosine": lambda m, p: m + (1 - m) * (1 - np.cos(np.pi * p)) / 2,
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("least", [0.01, 0.125, 0.6, 1.0])
def test_levels_of_a_schedule_are_its_formula(schedule, least):
    for count in (2, 4, 7):
        place = np.array([k / (count - 1) for k in range(count)], np.float64)
        expected = 1.01 - SCHEDULES[schedule](least, place)
        levels = noise_levels(count, schedule, least)
        np.testing.assert_allclose(levels, expected, atol=1e-12)
        assert np.all(np.diff(levels) <= 1e-12) and np.all(levels <= 1 + 1e-12)
    np.testing.assert_allclose(noise_levels(1, schedule, least), [0.01], atol=1e-12)


def test_the_schedules_differ_between_the_ends_only_and_exponential_keeps_least():
    exponential, linear, cosine = (noise_levels(5, s) for s in SCHEDULES)
    np.testing.assert_allclose(exponential[[0, -1]], linear[[0, -1]], atol=1e-12)
    np.testing.assert_allclose(cosine[[0, 2, -1]], linear[[0, 2, -1]], atol=1e-12)
    assert np.all(exponential[1:-1] > linear[1:-1])
    assert cosine[1] > linear[1] and cosine[3] < linear[3]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_chain_of_any_schedule_has_its_levels_in_float64(rng, schedule):
    """Sums of squares of what each draw contributes are t_k^2, whatever the levels are."""
    levels = noise_levels(4, schedule, 0.3)
    noised = []
    for place in range(4):  # each draw alone
        one = np.zeros((1, 1, 1, 4, 1))
        one[:, :, :, place] = 1.0
        noised.append(np.asarray(add_noise(np.zeros_like(one), one, levels)).reshape(4))
    np.testing.assert_allclose(np.sum(np.square(noised), axis=0), levels**2, rtol=1e-12)
    assert np.all(np.triu(noised, 1) == 0)  # a draw reaches its level and noisier ones


def test_levels_that_are_all_the_cleanest_share_one_noise(noise):
    noised = np.asarray(add_noise(np.zeros_like(noise), noise, noise_levels(4, "linear", 1.0)))
    np.testing.assert_allclose(noised, np.repeat(noised[:, :, :, 3:], 4, axis=3), atol=1e-7)


@pytest.mark.parametrize("least", [0.0, 0.009, 1.01, float("nan")])
def test_information_out_of_range_is_refused(least):
    with pytest.raises(ValueError, match=f"min_information={least:g}: give a number from 0.01 to"):
        noise_levels(4, "cosine", least)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="noise_schedule='quadratic' is not one of exponential"):
        noise_levels(4, "quadratic")


# -------------------------------------------------------------------------------- learned places


def pulls(*values):
    return {f"pull_{k}": ops.convert_to_tensor(v, "float32") for k, v in enumerate(values, 1)}


def test_learned_levels_begin_with_the_official_ones_and_move_by_their_rule(rng):
    spacing, m, logs = NoiseSpacing(4, 0.125), 0.125, np.zeros(3)
    np.testing.assert_allclose(spacing.value(), noise_levels(4), atol=1e-6)
    assert np.array_equal(noise_levels(4, "learned"), noise_levels(4))
    for _ in range(30):
        found = rng.uniform(0.1, 4.0, 4)
        spacing.update(pulls(*found), 16, 0)
        line = np.log(found[0]) + np.arange(4) / 3 * np.log(found[3] / found[0])
        excess = np.clip(np.log(found) - line, -1, 1)
        # Of the three steps from the first level to the last: before and after levels 2 and 3.
        logs += 0.01 * np.array([-excess[1], excess[1] - excess[2], excess[2]])
        shares = np.exp(logs) / np.exp(logs).sum()
        expected = 1.01 - m ** (1 - np.array([0, shares[0], shares[:2].sum(), 1]))
        np.testing.assert_allclose(spacing.value(), expected, atol=1e-5)
    assert np.abs(expected - noise_levels(4)).max() > 1e-3


def test_official_levels_are_kept_by_a_d_that_is_equally_sensitive_and_found_from_others():
    official = noise_levels(4)
    kept, found = NoiseSpacing(4, 0.125), NoiseSpacing(4, 0.125, rate=0.2)
    found.spacing.assign([1.0, -0.5, 0.3])
    for spacing, steps in ((kept, 1), (found, 100)):
        for _ in range(steps):
            spacing.update(pulls(*(1 - np.asarray(spacing.value()) + 1e-12) ** 2), 16, 0)
        # Less than a hundredth, for the scale is that of 1 - t, the information that of 1.01 - t.
        np.testing.assert_allclose(spacing.value(), official, atol=0.01)


def test_a_level_that_is_pulled_more_gets_more_noise_and_none_meets_the_next():
    spacing = NoiseSpacing(4, 0.125, rate=1.0)
    for pulled, way in ((pulls(1, 1, 9, 1), 1), (pulls(9, 9, 0, 9), -1)):
        before = np.asarray(spacing.value())
        spacing.update(pulled, 16, 0)
        assert way * (np.asarray(spacing.value()) - before)[2] > 1e-4
        for _ in range(15):
            spacing.update(pulled, 16, 0)
        levels = np.asarray(spacing.value())
        np.testing.assert_allclose(levels[[0, 3]], [0.885, 0.01], atol=1e-6)
        assert np.all(np.diff(levels) < -1e-4)


def test_levels_in_a_tensor_make_the_same_noise(rng, noise):
    stages = rng.normal(size=noise.shape).astype(np.float32)
    levels = noise_levels(4, "cosine", 0.3)
    of_tensor = add_noise(stages, noise, ops.convert_to_tensor(levels, "float32"))
    np.testing.assert_allclose(of_tensor, add_noise(stages, noise, levels), atol=2e-6)


class Bending(keras.Model):
    """A generator that is tanh(z w), labels aside: three stages of 4 x 4 x 4."""

    def __init__(self):
        super().__init__()
        self.w = self.add_weight((4, 192), keras.initializers.RandomNormal(0.0, 0.5, seed=2))
        self.built = True

    def call(self, z, labels, return_levels):
        return list(ops.reshape(ops.tanh(z @ self.w), (3, -1, 4, 4, 4)))


class Weighing(keras.Model):
    """A discriminator that is <w, x>."""

    def __init__(self, shape):
        super().__init__()
        self.w = self.add_weight(shape, keras.initializers.RandomNormal(0.0, 0.2, seed=1))
        self.built = True

    def call(self, x, labels):
        return ops.sum(x * self.w, axis=(1, 2, 3))[:, None]


def test_a_step_tells_how_each_output_is_pulled_and_learns_as_with_given_levels(rng):
    """Of <w, x> the gradient of the loss at output k is -sigmoid(-margin) (1 - t_k) w_k."""
    size, batch = 4, 3
    options = {"noise_dim": 4, "latent_size": size, "levels": 3}
    options |= {"augment": False, "min_information": 0.3}
    learned, given = (GatObjective(**options, noise_schedule=s) for s in ("learned", "exponential"))
    generator, discriminator = Bending(), Weighing((size, size, 12))
    drawn = rng.normal(size=(3, batch, size, size, 3, 4)).astype("float32")
    draws = {"z": rng.normal(size=(batch, 4)).astype("float32")}
    draws |= {"fake": {"noise": drawn[0]}, "real": {"noise": drawn[1]}}
    given_batch = {"real": drawn[2][..., 0, :], "labels": np.array([0, 1, 1])}
    tree = keras.tree.map_structure(ops.convert_to_tensor, (given_batch, draws))
    networks = generator, discriminator, *tree
    gradients, metrics = generator_gradients(learned, *networks)
    expected, others = generator_gradients(given, *networks)
    for ours, theirs in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert float(metrics["g_loss"]) == pytest.approx(float(others["g_loss"]), rel=1e-6)
    assert set(metrics) - set(others) == set(learned.observed) - set(given.observed)

    fake = np.asarray(generator(tree[1]["z"], tree[0]["labels"], return_levels=True))
    levels = noise_levels(3, "exponential", 0.3)
    w = np.asarray(discriminator.w, np.float64).reshape(size, size, 3, 4)
    views = (
        np.asarray(add_noise(np.broadcast_to(x, drawn[0].shape), noise, levels), np.float64)
        for x, noise in ((np.moveaxis(fake, 0, 3), drawn[0]), (drawn[2][:, :, :, :1], drawn[1]))
    )
    of_fake, of_real = (np.sum(view * w, axis=(1, 2, 3, 4)) for view in views)
    share = 1 / (1 + np.exp(of_fake - of_real))
    pull = np.mean(share**2) * (1 - levels) ** 2 * np.mean(w**2, axis=(0, 1, 3))
    found = [float(metrics[f"pull_{k}"]) for k in (1, 2, 3)]
    np.testing.assert_allclose(found, pull, rtol=1e-4)

    # Levels that were found take the place of those given.
    layers = adaptations(learned)
    layers["spacing"].spacing.assign([1.0, -1.0])
    moved = layers["spacing"].value()
    strengths = adapted(AS_CONFIGURED, layers)
    _, metrics = generator_gradients(learned, *networks, strengths=strengths)
    found = [float(metrics[f"pull_{k}"]) for k in (1, 2, 3)]
    ratio = np.mean(w**2, axis=(0, 1, 3)) * (1 - np.asarray(moved, np.float64)) ** 2
    np.testing.assert_allclose(found / ratio, (found / ratio)[0] * np.ones(3), rtol=1e-4)
    assert adaptations(given) == {}


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ({"levels": 2}, "levels=2: noise_schedule=learned needs 3"),
        ({"min_information": 0.01}, "min_information=0.01: of nothing"),
        ({"noise_guidance": False}, "noise_guidance=False: there are no levels"),
        ({"noise_side": "real"}, "noise_side=real: noise_schedule=learned looks at"),
    ],
)
def test_learned_levels_need_noise_and_a_level_between_the_ends(how, problem):
    with pytest.raises(ValueError, match=problem):
        GatObjective(noise_schedule="learned", **how)
