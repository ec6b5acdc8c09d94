"""GAT's objective: closed forms of its losses, and what a step of it leaves alone."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.gat.sizes import SIZES
from ladagan_tf.models.gat.transformer import computing_in
from ladagan_tf.training import NOISE_SIDES, gat, losses
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.latent_views import latent_augmentation_draws, left_alone
from ladagan_tf.training.optimizers import FusedAdam
from ladagan_tf.training.schedules import Schedules
from ladagan_tf.training.step import discriminator_gradients, generator_gradients

SIZE, CLASSES, LEVELS, B = 8, 3, 2, 4


class LinearDiscriminator(keras.Model):
    """<w, x> of all numbers of a sample: its input gradient is w, whatever the sample."""

    def __init__(self, seed=0):
        super().__init__()
        shape = (SIZE, SIZE, LEVELS * 4)
        self.w = self.add_weight(shape, keras.initializers.RandomNormal(0.0, 0.1, seed=seed))
        self.built = True

    def call(self, x, labels):
        return ops.sum(x * self.w, axis=(1, 2, 3))[:, None]


class QuadraticDiscriminator(LinearDiscriminator):
    """<w, x^2>: its input gradient is another one at every sample."""

    def call(self, x, labels):
        return super().call(ops.square(x), labels)


class ConstantDiscriminator(LinearDiscriminator):
    def call(self, x, labels):
        return 0.7 * ops.ones_like(x[:, 0, 0, :1])


@pytest.fixture
def networks():
    """`networks(policy)`: new generator and discriminator."""

    def make(policy="float32", teacher_dim=None, remat=False):
        keras.utils.set_random_seed(0)
        sizes = {"latent_size": SIZE, "width": 24, "num_heads": 2, "levels": LEVELS}
        sizes |= {"num_classes": CLASSES, "dtype": policy, "remat": remat}
        generator = GatGenerator(**sizes, depth=2, noise_dim=8)
        head = {"class_dim": 8, "projector_dim": 8, "teacher_dim": teacher_dim}
        return generator, GatDiscriminator(**sizes, **head, depth=1)

    return make


@pytest.fixture
def batch(rng):
    latents = rng.standard_normal((B, SIZE, SIZE, 4)).astype("float32")
    return {
        "real": ops.convert_to_tensor(latents),
        "labels": ops.convert_to_tensor(np.array([0, 2, 2, 1], "int32")),
    }


@pytest.fixture
def fake(rng):
    stages = rng.standard_normal((B, SIZE, SIZE, LEVELS, 4)).astype("float32")
    return ops.convert_to_tensor(stages)


def objective_of(**changes):
    return GatObjective(**{"noise_dim": 8, "latent_size": SIZE, "levels": LEVELS, **changes})


def test_d_of_real_and_fake_is_g_of_fake_and_real(batch, fake):
    """Swapping who is real swaps the two losses: L_D(r, f) = L_G(f, r)."""
    plain = objective_of(augment=False, noise_guidance=False, r1_weight=0.0, r2_weight=0.0)
    discriminator, labels = LinearDiscriminator(), batch["labels"]
    _, parts = plain.discriminator_loss(discriminator, batch, fake, {"real": {}, "fake": {}})
    real = discriminator(np.tile(batch["real"], (1, 1, 1, LEVELS)), labels)
    of_fake = discriminator(np.reshape(fake, (B, SIZE, SIZE, -1)), labels)
    margin = np.asarray(real - of_fake, np.float64)
    np.testing.assert_allclose(parts["d_loss"], np.mean(np.log1p(np.exp(-margin))), rtol=1e-5)
    np.testing.assert_allclose(parts["margin"], np.mean(margin), rtol=1e-4)


def test_the_penalties_of_a_constant_discriminator_are_zero(batch, fake, draw):
    objective = objective_of()
    draws = draw(objective.discriminator_draws(), B)
    _, parts = objective.discriminator_loss(ConstantDiscriminator(), batch, fake, draws)
    assert float(parts["r1"]) == float(parts["r2"]) == 0.0
    assert float(parts["d_total"]) == pytest.approx(math.log(2.0))


def test_one_draw_of_the_penalties_is_the_squared_directional_derivative(batch, fake, draw):
    """Of a linear D without augmentation and noise, (w . e)^2, by the formula."""
    objective = objective_of(augment=False, noise_guidance=False)
    draws = draw(objective.discriminator_draws(), B)
    discriminator = LinearDiscriminator()
    _, parts = objective.discriminator_loss(discriminator, batch, fake, draws)
    w = np.reshape(discriminator.w, (SIZE, SIZE, LEVELS, 4)).astype(np.float64)
    for name in ("r1", "r2"):  # R1 has one draw for all copies of a real
        along = np.sum(np.asarray(draws[name], np.float64) * w, axis=(1, 2, 3, 4))
        np.testing.assert_allclose(parts[name], 0.05 * np.mean(along**2), rtol=2e-3)


def test_a_sample_is_augmented_where_its_draw_is_below_the_probability(batch, fake, draw):
    sometimes, always, never = (
        objective_of(augment_sometimes=some, augment=on)
        for some, on in ((True, True), (False, True), (False, False))
    )
    draws, discriminator = draw(sometimes.discriminator_draws(), B), QuadraticDiscriminator()
    for p, same in ((1.0, always), (0.0, never)):
        step = Schedules(augment=(p, p)).at(0)
        _, found = sometimes.discriminator_loss(discriminator, batch, fake, draws, step)
        _, expected = same.discriminator_loss(discriminator, batch, fake, draws)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_the_samples_of_a_pair_are_augmented_alike_and_noised_each_for_itself(batch, draw):
    """So that without noise samples which are equal stay it, and neither is preferred."""
    same = ops.repeat(ops.expand_dims(batch["real"], 3), LEVELS, axis=3)
    for noise, equal in ((False, True), (True, False)):
        objective = objective_of(augment_pairs=True, noise_guidance=noise, augment_sometimes=True)
        draws, discriminator = draw(objective.discriminator_draws(), B), QuadraticDiscriminator()
        assert set(draws["real"]) == ({"noise"} if noise else set())
        step = Schedules(augment=(0.5, 0.5)).at(0)
        _, parts = objective.discriminator_loss(discriminator, batch, same, draws, step)
        assert (abs(float(parts["margin"])) < 1e-6) == equal
    with pytest.raises(ValueError, match="augment=False: there is no augmentation for augment_p"):
        objective_of(augment=False, augment_pairs=True)


@pytest.mark.parametrize("side", NOISE_SIDES)
def test_d_sees_the_noise_of_the_sides_that_have_it_and_the_others_as_they_are(
    batch, fake, draw, side
):
    class Seeing:
        def __call__(self, seen, labels):
            self.all += np.split(np.asarray(seen, np.float64), len(seen) // B)
            return ops.zeros((len(seen), 1))

    objective = objective_of(
        noise_side=side, noise_schedule="linear", min_information=0.4, augment=False,
        r1_weight=0.0, r2_weight=0.0,
    )  # fmt: skip
    discriminator, draws = Seeing(), draw(objective.discriminator_draws(), B)
    discriminator.all = []
    objective.discriminator_loss(discriminator, batch, fake, draws)
    objective._against_real(discriminator, batch, fake, draws, Schedules().at(0))
    t = 1.01 - np.linspace(0.4, 1.0, LEVELS)
    real = np.repeat(np.asarray(batch["real"], np.float64)[:, :, :, None], LEVELS, axis=3)
    seen = [views.reshape(B, SIZE, SIZE, LEVELS, 4) for views in discriminator.all]
    for name, stages, found in (
        ("real", real, (seen[0], seen[3])), ("fake", np.asarray(fake, np.float64), seen[1:3]),
    ):  # fmt: skip
        noise = np.asarray(draws[name]["noise"], np.float64)
        chain, expected = 0.0, stages.copy()
        if side in ("both", name):
            for k in reversed(range(LEVELS)):
                kept, before = ((1 - t[k]) / (1 - t[k + 1]), t[k + 1]) if k + 1 < LEVELS else (1, 0)
                chain = kept * chain + np.sqrt(t[k] ** 2 - (kept * before) ** 2) * noise[:, :, :, k]
                expected[:, :, :, k] = (1 - t[k]) * stages[:, :, :, k] + chain
        for views in found:
            np.testing.assert_allclose(views, expected, atol=1e-5)


def test_an_unknown_side_of_the_noise_is_refused():
    with pytest.raises(ValueError, match="noise_side='reals' is not one of both, fake, real"):
        objective_of(noise_side="reals")


def test_centring_is_a_term_of_d_alone(batch, fake, draw):
    objective = objective_of(centring_weight=0.5, r1_weight=0.0, r2_weight=0.0)
    draws = draw(objective.discriminator_draws(), B)
    total, parts = objective.discriminator_loss(ConstantDiscriminator(), batch, fake, draws)
    assert float(parts["centring"]) == pytest.approx(0.5 * 1.4**2)  # each logit is 0.7
    assert float(total) == pytest.approx(math.log(2.0) + 0.5 * 1.4**2)
    assert "centring" in objective.metrics and "centring" not in objective_of().metrics


def test_a_teacher_s_image_stays_where_a_sample_is_left_alone(draw):
    draws = draw(latent_augmentation_draws(SIZE), B)
    alone = ops.convert_to_tensor(np.array([True, False, True, False]))
    found = left_alone(draws, alone)
    for name, neutral in (("shift_rows", 0), ("shift_columns", 0), ("flipped", 1.0)):
        expected = np.where(alone, neutral, draws[name])
        np.testing.assert_array_equal(found[name], expected)
        assert found[name].dtype == draws[name].dtype


@pytest.mark.parametrize("exact", [False, True])
def test_penalties_at_a_share_are_those_of_every_nth_sample(batch, fake, draw, exact):
    """Augmented and noised as those samples are; the rest of the loss is that of all."""
    some, every = (objective_of(exact_penalties=exact, penalty_every=n) for n in (2, 1))
    draws, discriminator = draw(every.discriminator_draws(), B), QuadraticDiscriminator()
    _, shared = some.discriminator_loss(discriminator, batch, fake, draws)
    part, half, fakes = losses.every_nth((batch, draws, fake), 2)
    _, expected = every.discriminator_loss(discriminator, part, fakes, half)
    _, whole = every.discriminator_loss(discriminator, batch, fake, draws)
    for name in ("r1", "r2"):
        np.testing.assert_allclose(shared[name], expected[name], rtol=1e-5)
        assert abs(shared[name] - whole[name]) > 1e-3 * whole[name]
    np.testing.assert_array_equal(shared["d_loss"], whole["d_loss"])


def test_the_mean_over_draws_is_the_exact_penalty(batch, fake, draw):
    objective = objective_of(augment=False, noise_guidance=False)
    exact = objective_of(augment=False, noise_guidance=False, exact_penalties=True)
    discriminator, many = LinearDiscriminator(), 300  # a sample has a relative variance of 2
    each = {name: ops.concatenate([value] * many) for name, value in batch.items()}
    draws, fakes = draw(objective.discriminator_draws(), B * many), ops.concatenate([fake] * many)
    _, found = objective.discriminator_loss(discriminator, each, fakes, draws)
    _, parts = exact.discriminator_loss(discriminator, batch, fake, {"real": {}, "fake": {}})
    w = np.reshape(discriminator.w, (SIZE, SIZE, LEVELS, 4)).astype(np.float64)
    expected = 0.05 * np.array([np.sum(w.sum(axis=2) ** 2), np.sum(w**2)])
    np.testing.assert_allclose([parts["r1"], parts["r2"]], expected, rtol=1e-4)
    np.testing.assert_allclose([found["r1"], found["r2"]], expected, rtol=0.2)


def test_perturbed_passes_see_the_augmentation_and_noise_of_the_clean_ones(
    batch, fake, draw, monkeypatch
):
    seen = []

    class Recording(LinearDiscriminator):
        def call(self, x, labels):
            seen.extend(np.split(np.asarray(x), 4))  # one pass judges all
            return super().call(x, labels)

    monkeypatch.setattr(gat, "SIGMA", 1e-6)
    objective = objective_of()
    draws = draw(objective.discriminator_draws(), B)
    objective.discriminator_loss(Recording(), batch, fake, draws)
    real, of_fake, perturbed_real, perturbed_fake = seen
    np.testing.assert_allclose(perturbed_real, real, atol=1e-4)
    np.testing.assert_allclose(perturbed_fake, of_fake, atol=1e-4)
    assert np.abs(real - of_fake).max() > 1.0


def test_fakes_and_g_have_no_alignment(networks, batch, fake, draw):
    """The alignment term looks at real features only, and G's loss has none."""
    generator, _ = networks()
    discriminator = networks(teacher_dim=5)[1]
    targets = np.ones((B, 5), "float32"), np.ones((B, 16, 5), "float32")
    objective = objective_of(teacher=lambda batch, draws, size: targets)
    draws = draw(objective.discriminator_draws(), B)
    one, other = (
        objective.discriminator_loss(discriminator, batch, stages, draws)[1]["alignment"]
        for stages in (fake, fake * 3.0)
    )
    assert float(one) == float(other) > 0.1
    loss, parts = objective.generator_loss(
        generator, discriminator, batch, draw(objective.generator_draws(), B)
    )
    assert set(parts) == {"g_loss", *objective.observed} - {"real_sign"} and float(
        parts["g_loss"]
    ) == float(loss)


def test_micro_batches_give_the_gradients_of_the_whole_batch(networks, batch, draw):
    generator, discriminator = networks()
    objective = objective_of()
    for compute, specification in (
        (discriminator_gradients, objective.discriminator_draws()),
        (generator_gradients, objective.generator_draws()),
    ):
        draws = draw(specification, B)
        arguments = objective, generator, discriminator, batch, draws
        expected, metrics = compute(*arguments)
        gradients, found = compute(*arguments, micro_batches=2)
        for ours, whole in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(ours, whole, atol=1e-4 * (1 + np.abs(whole).max()))
        assert found.keys() == metrics.keys()
        for name, value in metrics.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-6)


def test_the_official_z_is_that_of_both_phases(networks, batch, draw):
    generator, _ = networks()
    objective = objective_of(reuse_z=True)
    assert "z" not in objective.discriminator_draws() and "z" not in objective.generator_draws()
    z = draw(objective.batch_draws(), B)["z"]
    stages = [objective.generate(generator, {**batch, "z": z}, {}) for _ in range(2)]
    expected = generator(z, batch["labels"])
    np.testing.assert_allclose(stages[0][:, :, :, -1], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(stages[0], stages[1])


def test_half_precision_takes_its_penalties_in_float32(networks, batch, fake, draw):
    """bfloat16 has 8 bits; the finite difference divides what they do not hold by 0.01."""
    weights = [network.get_weights() for network in networks()]
    draws, found = draw(objective_of().discriminator_draws(), B), {}
    for policy, precise in (
        ("float32", True),
        ("mixed_bfloat16", True),
        ("mixed_bfloat16", False),
    ):
        generator, discriminator = networks(policy)
        for network, values in zip((generator, discriminator), weights, strict=True):
            network.set_weights(values)
        objective = objective_of(precise_penalties=precise)
        _, parts = objective.discriminator_loss(discriminator, batch, fake, draws)
        found[policy, precise] = [float(parts[name]) for name in ("r1", "r2", "d_loss")]
    exact = found["float32", True]
    np.testing.assert_allclose(found["mixed_bfloat16", True], exact, rtol=1e-3)
    wrong = np.abs(np.array(found["mixed_bfloat16", False]) / exact - 1.0)
    assert wrong[:2].max() > 0.05  # so the test can tell
    assert wrong[2] < 0.02


def test_computing_in_another_precision_ends_with_the_block(networks):
    _, discriminator = networks("mixed_bfloat16")
    block = discriminator.blocks[0]
    with computing_in(discriminator, "float32"):
        assert block.compute_dtype == block.attention.compute_dtype == "float32"
    assert block.compute_dtype == block.attention.compute_dtype == "bfloat16"
    assert block.dtype_policy.name == "mixed_bfloat16"


def test_a_step_of_g_leaves_d_alone_and_tables_stay_fixed(networks, batch, rng, tf, eagerly):
    generator, discriminator = networks()
    averaged, _ = networks()
    model = AdversarialModel(generator, discriminator, averaged, objective_of(), seed=1)
    model.compile(*(FusedAdam(1e-3, 0.0, 0.99) for _ in range(2)), clip_norm=1.0)
    tables = [n.positions.numpy() for n in (generator, discriminator)]
    moments = rng.standard_normal((B, SIZE, SIZE, 8)).astype("float32")
    data = {"moments": tf.constant(moments)}, batch["labels"]
    g_before, d_before = generator.get_weights(), discriminator.get_weights()
    model.g_optimizer.learning_rate = 0.0
    model.train_step(data)
    assert_only_changed(generator, g_before, {"mean_style"})
    assert any(np.any(a != b) for a, b in zip(discriminator.get_weights(), d_before, strict=True))
    model.g_optimizer.learning_rate, model.d_optimizer.learning_rate = 1e-3, 0.0
    d_before = discriminator.get_weights()
    model.train_step(data)
    assert_only_changed(discriminator, d_before, set())
    for network, table in zip((generator, discriminator), tables, strict=True):
        np.testing.assert_array_equal(network.positions, table)
    np.testing.assert_array_equal(averaged.mean_style, generator.mean_style)  # copied, no average


def assert_only_changed(network, before, names):
    changed = {
        weight.name
        for weight, old in zip(network.weights, before, strict=True)
        if np.any(np.asarray(weight) != old)
    }
    assert changed == names


def test_mean_styles_move_by_the_z_of_gs_own_phase_for_the_classes_present(networks, rng, draw):
    generator, _ = networks()
    objective = objective_of()
    labels = ops.convert_to_tensor(np.array([2, 0, 2, 2], "int32"))
    draws = draw(objective.generator_draws(), B)
    objective.update_statistics(generator, {"labels": labels}, draws, lambda sums: sums)
    styles = np.asarray(generator.style(draws["z"], labels), np.float64)
    expected = np.zeros((CLASSES, 24))
    expected[0], expected[2] = 0.005 * styles[1], 0.005 * styles[[0, 2, 3]].mean(axis=0)
    np.testing.assert_allclose(generator.mean_style, expected, atol=1e-7)


def test_blocks_are_recomputed_in_the_precision_they_were_computed_in(networks, batch, draw, tf):
    """D's float32 phase is over when TensorFlow runs its rematerialised blocks again."""
    objective, found = objective_of(augment=False, noise_guidance=False, r2_weight=0.0), []
    draws = draw(objective.discriminator_draws(), B)
    for remat in (False, True):
        generator, discriminator = networks("mixed_bfloat16", remat=remat)
        arguments = objective, generator, discriminator, batch, draws
        traced = tf.function(
            lambda given=arguments: discriminator_gradients(*given), autograph=False
        )
        gradients, _ = traced()
        found.append(gradients)
    for plain, again in zip(*found, strict=True):
        np.testing.assert_allclose(again, plain, atol=1e-5 * (1e-3 + np.abs(plain).max()))


@pytest.mark.parametrize(
    "size, expected", [("S", 4e-4), ("B", 2e-4), ("L", 1.5e-4), ("XL", 1.3333e-4)]
)
def test_learning_rates_follow_the_width(size, expected):
    assert gat.width_aware_rate(2e-4, SIZES[size].width) == pytest.approx(expected, rel=1e-4)
