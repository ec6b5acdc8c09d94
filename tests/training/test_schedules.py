"""Schedules against their formulas, adaptive augmentation, and what a step makes of both."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.latent_views import noise_levels
from ladagan_tf.training.optimizers import FusedAdam
from ladagan_tf.training.schedules import INTERVAL, AdaptiveAugmentation, Schedules

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.runs.checkpoints import Checkpoints  # noqa: E402
from ladagan_tf.training.adversarial import AdversarialModel  # noqa: E402

FORMULAS = {"linear": lambda t: t, "cosine": lambda t: (1 - np.cos(np.pi * t)) / 2}
BATCH = 4
pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.mark.parametrize("shape", FORMULAS)
@pytest.mark.parametrize("images", [0, 1, 5_000, 19_999, 20_000, 68_000_000])
def test_a_schedule_goes_from_one_value_to_the_other_and_stays(shape, images):
    schedules = Schedules(shape, 20.0, rate=(1.0, 0.25), penalty=(1.0, 10.0), augment=(0.0, 0.55))
    progress = FORMULAS[shape](min(images / 20_000, 1.0))
    expected = [a + (b - a) * progress for a, b in ((1, 0.25), (1, 10), (0, 0.55))]
    for seen in (images, ops.convert_to_tensor(images, "float32")):
        np.testing.assert_allclose(
            list(map(float, schedules.at(seen)[:3])), expected, rtol=1e-5, atol=1e-6
        )


def test_what_does_not_change_is_no_tensor():
    constant = Schedules("constant", rate=(1.0, 0.5), augment=(0.3, 0.3)).at(ops.ones(()))
    assert constant == (1.0, 1.0, 0.3, None)
    assert all(type(value) is float for value in constant[:3])
    assert type(Schedules("linear", rate=(1.0, 0.5)).at(ops.ones(())).penalty) is float


def test_adaptive_augmentation_is_the_rule_of_stylegan2_ada(rng):
    """p moves every fourth step, by the sign of the mean over four less the target."""
    adaptive, signs = AdaptiveAugmentation(0.6, kimg=0.2), rng.uniform(0.3, 1.0, 40)
    signs[:12] = 0.9
    p, found, expected = 0.0, [], []
    for step, sign in enumerate(signs):
        if step % INTERVAL == INTERVAL - 1:
            mean = np.mean(signs[step - INTERVAL + 1 : step + 1])
            p = np.clip(p + INTERVAL * 10 / 200 * np.sign(mean - 0.6), 0.0, 1.0)
        adaptive.update({"real_sign": ops.convert_to_tensor(sign, "float32")}, 10, step)
        found.append(float(adaptive.p))
        expected.append(p)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(set(np.round(expected, 6))) > 3


def test_the_probability_stays_between_0_and_1():
    adaptive = AdaptiveAugmentation(0.6, kimg=0.01)
    for sign, expected in ((-1.0, 0.0), (1.0, 1.0), (1.0, 1.0)):
        for step in range(INTERVAL):
            adaptive.update({"real_sign": ops.convert_to_tensor(sign)}, 4, step)
        assert float(adaptive.p) == expected


# ------------------------------------------------------------------------------------ in a step


@pytest.fixture
def model(tiny_generator, tiny_discriminator):
    def make(optimizer=FusedAdam, wrap=lambda optimizer: optimizer, **kwargs):
        objective = LadaObjective(
            noise_dim=4,
            resolution=8,
            r1_weight=0.1,
            policy="color" if "augment_target" in kwargs else "",
            augment_sometimes="augment_target" in kwargs,
        )
        keras.utils.clear_session()  # or layers would be numbered on, which checkpoints notice
        networks = tiny_generator(seed=1), tiny_discriminator(), tiny_generator(seed=9)
        gan = AdversarialModel(*networks, objective)
        gan.compile(wrap(optimizer(1e-3)), wrap(optimizer(2e-3)), **kwargs)
        return gan

    return make


@pytest.fixture
def data(rng):
    images = rng.integers(0, 256, (BATCH, 8, 8, 3), dtype="uint8")
    return tf.constant(images), tf.zeros(BATCH, tf.int32)


@pytest.mark.parametrize("wrap", [lambda o: o, keras.optimizers.LossScaleOptimizer])
def test_both_learning_rates_follow_the_images_seen(model, data, wrap):
    gan = model(wrap=wrap, schedules=Schedules("linear", 0.008, rate=(1.0, 0.5)))
    gan.images_before = BATCH  # of an earlier start with other batches
    for factor in (0.75, 0.5, 0.5):
        gan.train_step(data)
        rates = [float(o.learning_rate) for o in (gan.g_optimizer, gan.d_optimizer)]
        np.testing.assert_allclose(rates, [1e-3 * factor, 2e-3 * factor], rtol=1e-6)
    assert gan.scheduled(8) == {"lr_factor": 0.5}
    assert model().scheduled(8) == {}


def test_a_scheduled_weight_multiplies_the_penalty_alone(model, data):
    gan = model(schedules=Schedules("cosine", 0.008, penalty=(1.0, 0.5)))
    gan.images_before = BATCH
    metrics = [m.train_step(data) for m in (gan, model())]
    np.testing.assert_allclose(metrics[0]["r1"], 0.75 * metrics[1]["r1"], rtol=1e-5)
    np.testing.assert_allclose(metrics[0]["d_loss"], metrics[1]["d_loss"], rtol=1e-6)


def test_a_run_that_adapts_continues_exactly(model, data, tmp_path):
    schedules = Schedules("linear", 0.1, rate=(1.0, 0.5), penalty=(1.0, 0.0))
    asked = {"schedules": schedules, "augment_target": 0.1, "augment_kimg": 0.1}
    whole = model(**asked)
    for step in range(2 * INTERVAL):
        whole.train_step(data)
        if step == INTERVAL:
            Checkpoints(tmp_path, whole.state()).save(INTERVAL + 1, BATCH * (INTERVAL + 1))
    continued = model(**asked)
    Checkpoints(tmp_path, continued.state()).restore_latest()
    for _ in range(INTERVAL - 1):
        continued.train_step(data)
    assert any(name.startswith("augmentation/") for name in whole.state())
    again = continued.state()
    for name, value in whole.state().items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)
    reported = whole.scheduled(BATCH * 2 * INTERVAL)
    assert reported == continued.scheduled(BATCH * 2 * INTERVAL)
    assert reported["augment_p"] == pytest.approx(
        float(whole.adaptations["augmentation"].p), rel=1e-5
    )


# ------------------------------------------------------------------------- what is augmented


def strengths(p):
    return Schedules(augment=(p, p)).at(0)


def test_an_image_is_augmented_where_its_draw_is_below_the_probability(
    tiny_generator, tiny_discriminator, data, draw
):
    always = LadaObjective(noise_dim=4, resolution=8, policy="color")
    never, sometimes = (
        LadaObjective(noise_dim=4, resolution=8, policy=policy, augment_sometimes=bool(policy))
        for policy in ("", "color")
    )
    batch = {"real": scale_images(data[0])}
    draws = draw(sometimes.discriminator_draws())
    chosen = ops.convert_to_tensor(np.array([0.1, 0.7, 0.4, 0.9], "float32"))
    draws = {**draws, **{side: {**draws[side], "chosen": chosen} for side in ("real", "fake")}}
    discriminator, fake = tiny_discriminator(), tiny_generator()(draws["z"])

    def logits(objective, p=1.0):
        parts = objective.discriminator_loss(discriminator, batch, fake, draws, strengths(p))[1]
        return float(parts["real_logits"])

    assert logits(sometimes, 1.0) == logits(always)
    assert logits(sometimes, 0.0) == logits(never)
    half = always._augmented(batch["real"], draws["real"], strengths(1.0))
    mixed = np.where(np.array([1, 0, 1, 0], bool)[:, None, None, None], half, batch["real"])
    expected = np.mean(discriminator(mixed))
    np.testing.assert_allclose(logits(sometimes, 0.5), expected, rtol=1e-5, atol=1e-7)
    g_draws = draw(sometimes.generator_draws())
    of_g = [
        o.generator_loss(tiny_generator(), discriminator, batch, g_draws, strengths(p))[0]
        for o, p in ((sometimes, 0.0), (never, 1.0), (sometimes, 1.0), (always, 1.0))
    ]
    assert float(of_g[0]) == float(of_g[1]) != float(of_g[2]) == float(of_g[3])


def test_a_run_that_learns_its_noise_continues_exactly_and_says_its_levels(rng, tmp_path):
    sizes = {"latent_size": 4, "levels": 3}
    network = {**sizes, "width": 8, "depth": 3, "num_heads": 2, "num_classes": 2}
    of_d = {**network, "depth": 1, "class_dim": 4, "projector_dim": 4, "teacher_dim": None}
    moments = rng.standard_normal((BATCH, 4, 4, 8)).astype("float32")
    data = {"moments": tf.constant(moments)}, tf.zeros(BATCH, tf.int32)

    def gan():
        keras.utils.set_random_seed(0)
        generators = [GatGenerator(**network, noise_dim=4) for _ in range(2)]
        objective = GatObjective(noise_dim=4, **sizes, noise_schedule="learned")
        found = AdversarialModel(generators[0], GatDiscriminator(**of_d), generators[1], objective)
        found.compile(*(FusedAdam(1e-3) for _ in range(2)))
        return found

    whole, continued = gan(), gan()
    whole.train_step(data)
    Checkpoints(tmp_path, whole.state()).save(1, BATCH)
    metrics = whole.train_step(data)
    Checkpoints(tmp_path, continued.state()).restore_latest()
    continued.train_step(data)
    spacing = [m.adaptations["spacing"].spacing.numpy() for m in (whole, continued)]
    np.testing.assert_array_equal(*spacing)
    assert len(set(spacing[0])) == 2 and float(metrics["pull_1"]) > 0
    levels = whole.adaptations["spacing"].value()
    said = [whole.scheduled(8)[f"noise_level_{k}"] for k in (1, 2, 3)]
    np.testing.assert_allclose(said, levels, rtol=1e-5)
    assert said[1] != pytest.approx(noise_levels(3)[1], abs=1e-4)
