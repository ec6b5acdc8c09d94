"""CAT's objective: each term against its formula in float64 NumPy, and beside GAT's."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.gat.scales import CatDiscriminator
from ladagan_tf.training import losses
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.cat import CatObjective, consistency
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.latent_objective import SIGMA, diagnostics
from ladagan_tf.training.latent_views import (
    augment_stages,
    color_means,
    latent_augmentation_draws,
    pyramid,
)
from ladagan_tf.training.step import discriminator_gradients, generator_gradients

SIZE, CLASSES, K, B = 8, 3, 3, 4
SIDES = (2, 4, 8)
PLAIN = {"noise_dim": 8, "latent_size": SIZE, "levels": K, "augment": False, "penalty_every": 2}


class Judge(keras.Model):
    """Logit k is <w_k, x_k^2>; of one tensor, GAT's input, there is one logit."""

    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(1)
        self.w = [rng.normal(0.0, 0.3, (side, side, 4)) for side in SIDES]
        self.built = True

    def call(self, x, labels, return_features=False, featured=None):
        x = x if isinstance(x, list) else [x]
        weights = self.w[-len(x) :]
        logits = ops.stack(
            [
                ops.sum(ops.square(one) * ops.convert_to_tensor(w, "float32"), axis=(1, 2, 3))
                for one, w in zip(x, weights, strict=True)
            ],
            axis=-1,
        )
        if not return_features:
            return logits
        patches = ops.reshape(x[-1][:featured], (-1, SIZE**2, 4))
        return logits, ops.mean(patches, axis=1), patches

    def in_numpy(self, x):
        pairs = zip(x, self.w, strict=True)
        return np.stack([np.sum(one**2 * w, axis=(1, 2, 3)) for one, w in pairs], axis=-1)


class Given:
    """A generator that makes the stages it is given."""

    def __init__(self, stages):
        self.stages = stages

    def __call__(self, z, labels, return_levels):
        return [self.stages[:, :, :, k] for k in range(self.stages.shape[3])]


@pytest.fixture
def stages(rng):
    return rng.standard_normal((B, SIZE, SIZE, K, 4)).astype("float32")


@pytest.fixture
def batch(rng):
    latents = rng.standard_normal((B, SIZE, SIZE, 4)).astype("float32")
    return {"real": ops.convert_to_tensor(latents), "labels": np.array([0, 2, 2, 1], "int32")}


def softplus(x):
    return np.log1p(np.exp(x))


def averages(x, side):
    """x (B, S, S, C) by 2 x 2 averages, again and again."""
    x = np.asarray(x, np.float64)
    while x.shape[1] > side:
        x = (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4.0
    return x


def scales_of(stages):
    return [averages(stages[:, :, :, min(k, stages.shape[3] - 1)], s) for k, s in enumerate(SIDES)]


# ------------------------------------------------------------------------------------ pyramid


def test_the_mean_pyramid_is_repeated_averages(stages):
    for given in (stages, stages[:, :, :, :1]):
        for found, expected in zip(pyramid(given, K), scales_of(given), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(pyramid(stages, K)[-1], stages[:, :, :, -1])


def test_the_bilinear_pyramid_is_that_of_tensorflow(tf, stages):
    for k, found in enumerate(pyramid(stages, K, "bilinear")):
        expected = tf.image.resize(stages[:, :, :, k], (SIDES[k], SIDES[k]), antialias=False)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_colours_of_each_stage_turn_about_its_own_means(stages, draw):
    draws = draw(latent_augmentation_draws(SIZE), B)
    together = augment_stages(stages, draws, color_means(stages))
    for k in range(K):
        alone = stages[:, :, :, k : k + 1]
        expected = augment_stages(alone, draws, color_means(alone))
        np.testing.assert_allclose(together[:, :, :, k : k + 1], expected, rtol=1e-5, atol=1e-6)


# --------------------------------------------------------------------------------------- terms


def test_each_term_of_ds_loss_is_its_formula(batch, stages, draw):
    """Relativistic over scales, alignment, and penalties of all scales at every second sample."""
    cls, patches = np.ones((B, 4)), np.ones((B, SIZE**2, 4))
    targets = cls.astype("float32"), patches.astype("float32")
    objective = CatObjective(**PLAIN, teacher=lambda batch, draws, size: targets)
    draws, judge = draw(objective.discriminator_draws(), B), Judge()
    total, parts = objective.discriminator_loss(judge, batch, stages, draws)
    real, fake = scales_of(np.asarray(batch["real"])[:, :, :, None]), scales_of(stages)
    expected = {"d_loss": np.mean(softplus(judge.in_numpy(fake) - judge.in_numpy(real)))}
    for name, x in (("r1", real), ("r2", fake)):
        noise = [np.asarray(e, np.float64) for e in draws[name]]
        moved = [a + SIGMA * e for a, e in zip(x, noise, strict=True)]
        slope = (judge.in_numpy(moved).sum(axis=1) - judge.in_numpy(x).sum(axis=1)) / SIGMA
        expected[name] = 0.5 * np.mean(slope[::2] ** 2)
    seen = real[-1].reshape(B, -1, 4)

    def off(features, targets):
        product = np.sum(features * targets, axis=-1)
        lengths = np.linalg.norm(features, axis=-1) * np.linalg.norm(targets, axis=-1)
        return np.mean(1.0 - product / lengths)

    expected["alignment"] = off(seen.mean(axis=1), cls) + off(seen, patches)
    expected["d_total"] = sum(expected.values())
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=2e-3, err_msg=name)
    assert float(total) == float(parts["d_total"])


@pytest.mark.parametrize("weights", [(), (0.5, 0.25)])
def test_each_term_of_gs_loss_is_its_formula(batch, stages, draw, weights):
    objective = CatObjective(**PLAIN, consistency_weight=0.3, consistency_weights=weights)
    draws, judge = draw(objective.generator_draws(), B), Judge()
    total, parts = objective.generator_loss(Given(stages), judge, batch, draws)
    real = judge.in_numpy(scales_of(np.asarray(batch["real"])[:, :, :, None]))
    x = stages.astype(np.float64)
    first, second = (np.mean((x[:, :, :, k] - x[:, :, :, -1]) ** 2) for k in (0, 1))
    w = weights or (1 / 2, 1 / 1)
    expected = {
        "g_loss": np.mean(softplus(real - judge.in_numpy(scales_of(x)))),
        "consistency": (w[0] * first + w[1] * second) / 2,
    }
    expected["g_total"] = expected["g_loss"] + 0.3 * expected["consistency"]
    for name, value in expected.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-5, err_msg=name)
    assert float(total) == float(parts["g_total"])
    assert parts.keys() - set(objective.observed) == set(expected)


def test_consistency_is_zero_of_equal_stages_and_its_anchor_is_fixed_or_pulled_as_much(stages):
    same = np.repeat(stages[:, :, :, :1], K, axis=3)
    assert float(consistency(same)) == float(consistency(stages[:, :, :, :1])) == 0.0
    x, gradients = ops.convert_to_tensor(stages), {}
    for stop in (True, False):
        _, gradient = input_gradient(lambda x, s=stop: consistency(x, None, s), x, keras.Model())
        gradients[stop] = np.asarray(gradient)
    np.testing.assert_array_equal(gradients[True][:, :, :, -1], 0.0)
    others = gradients[False][:, :, :, :-1].sum(axis=3)
    np.testing.assert_allclose(gradients[False][:, :, :, -1], -others, atol=1e-8)
    np.testing.assert_array_equal(gradients[True][:, :, :, :-1], gradients[False][:, :, :, :-1])
    assert np.abs(others).max() > 1e-4


def test_a_fixed_anchor_moves_cumulative_stages_without_bringing_them_together(stages):
    """Of x_k = h_1 + .. + h_k only h_2 .. h_K set distances; h_K then has no gradient at all."""
    parts, gradients = ops.convert_to_tensor(stages), {}
    for stop in (True, False):
        _, gradient = input_gradient(
            lambda h, s=stop: consistency(ops.cumsum(h, axis=3), None, s), parts, keras.Model()
        )
        gradients[stop] = np.asarray(gradient)
    np.testing.assert_array_equal(gradients[True][:, :, :, -1], 0.0)
    assert np.abs(gradients[True][:, :, :, 0]).max() > 1e-4  # moves all stages alike
    np.testing.assert_allclose(gradients[False][:, :, :, 0], 0.0, atol=1e-7)
    shorter = (gradients[False] * stages)[:, :, :, 1:].sum()  # a step back makes parts smaller
    assert shorter > 0.0


def test_diagnostics_are_distances_rewrites_and_their_direction(stages):
    found = diagnostics(stages)
    assert set(found) == set(CatObjective(**PLAIN).observed) - {"real_sign"}
    x = stages.astype(np.float64)
    for k in (1, 2):
        left, update = x[:, :, :, -1] - x[:, :, :, k - 1], x[:, :, :, k] - x[:, :, :, k - 1]
        for name, values in (("distance", left), ("rewrite", update)):
            expected = np.mean(np.sqrt(np.mean(values**2, axis=(1, 2, 3))))
            np.testing.assert_allclose(found[f"stage_{name}_{k}"], expected, rtol=1e-5)
    update, left = (np.reshape(v, (B, -1)) for v in (x[:, :, :, 1] - x[:, :, :, 0],
                                                     x[:, :, :, 2] - x[:, :, :, 0]))  # fmt: skip
    lengths = np.linalg.norm(update, axis=1) * np.linalg.norm(left, axis=1)
    expected = np.mean(np.sum(update * left, axis=1) / lengths)
    np.testing.assert_allclose(found["stage_cosine_1"], expected, rtol=1e-5)
    still = diagnostics(np.repeat(stages[:, :, :, :1], K, axis=3))
    assert all(float(value) == 0.0 for value in still.values())


# ---------------------------------------------------------------------------- beside GAT's


@pytest.mark.parametrize("augment", [True, False])
def test_of_one_scale_without_consistency_it_is_gats_without_noise(batch, stages, draw, augment):
    """Augmented, penalties differ: GAT's perturbation comes before the augmentation."""
    shared = {**PLAIN, "levels": 1, "augment": augment, "r1_weight": 0.05, "r2_weight": 0.05}
    cat = CatObjective(**shared, consistency_weight=0.0)
    gat = GatObjective(**shared, noise_guidance=False)
    draws, judge, fake = draw(gat.discriminator_draws(), B), Judge(), stages[:, :, :, -1:]
    _, expected = gat.discriminator_loss(judge, batch, fake, draws)
    draws |= {name: [draws[name][:, :, :, 0]] for name in ("r1", "r2")}
    _, found = cat.discriminator_loss(judge, batch, fake, draws)
    same = set(expected) - ({"r1", "r2", "d_total"} if augment else set())
    for name in same:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, err_msg=name)
    losses_of_g = [
        o.generator_loss(Given(fake), judge, batch, draws)[0] for o in (cat, gat)
    ]  # the same views
    np.testing.assert_allclose(*losses_of_g, rtol=1e-5)


@pytest.mark.parametrize("replicas", [2, 4])
def test_the_quarter_is_the_same_samples_on_any_number_of_replicas(replicas):
    """Samples of a batch are in an order that is drawn from (seed, step); replicas see parts."""
    rows = np.arange(4 * 4 * replicas)
    parts = [losses.every_nth(part, 4) for part in np.split(rows, replicas)]
    np.testing.assert_array_equal(np.concatenate(parts), losses.every_nth(rows, 4))
    assert len(losses.every_nth(rows, 4)) == len(rows) // 4


def test_gradients_reach_every_weight_and_xla_computes_the_same_losses(tf, batch, draw):
    """D's, with alignment and penalties; GAT's blocks under XLA: test_gat_gradients.py."""
    sizes = {"latent_size": SIZE, "width": 8, "num_heads": 2, "levels": 2, "num_classes": CLASSES}
    keras.utils.set_random_seed(0)
    generator = GatGenerator(**sizes, depth=2, noise_dim=8, modulation="shift_scale_gate")
    d = CatDiscriminator(**sizes, depth=1, class_dim=8, projector_dim=8, teacher_dim=5)
    targets = np.ones((B, 5), "float32"), np.ones((B, 16, 5), "float32")
    changes = {"levels": 2, "augment": True, "teacher": lambda *given: targets}
    objective = CatObjective(**{**PLAIN, **changes})
    draws = draw(objective.discriminator_draws(), B)  # G's phase has some of them
    for compute in (discriminator_gradients, generator_gradients):
        gradients, _ = compute(objective, generator, d, batch, draws)
        assert all(np.abs(gradient).max() > 0.0 for gradient in gradients)

    fake = objective.generate(generator, batch, draws)
    plain = dataclasses.replace(objective, augment=False, r2_weight=0.0)

    def loss():
        return plain.discriminator_loss(d, batch, fake, draws)[1]

    compiled = tf.function(loss, jit_compile=True, autograph=False)()
    for name, value in loss().items():
        np.testing.assert_allclose(compiled[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"consistency_weights": (1.0,)}, "consistency_weights=.*: 1 given; levels=3 has 2 stages"),
        ({"kernel": "box"}, "kernel='box' is not one of mean, bilinear"),
        ({"augment_sometimes": True}, "augment=False: there is no augmentation to apply"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        CatObjective(**{**PLAIN, **changes})
