"""Flow matching's loss is the formula's, and its gradients those of the whole batch in parts."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.training.flow import FlowObjective
from ladagan_tf.training.step import own_gradients


class Line(keras.Model):
    """A velocity of known form: a x + t + label."""

    def __init__(self):
        super().__init__()
        self.a = self.add_weight((), keras.initializers.Constant(0.5), name="a")
        self.built = True

    def velocity(self, x, t, labels=None):
        velocity = self.a * x + ops.reshape(t, (-1, 1, 1, 1))
        if labels is None:
            return velocity
        return velocity + ops.reshape(ops.cast(labels, "float32"), (-1, 1, 1, 1))


@pytest.fixture
def draws(rng):
    noise, time = rng.normal(size=(6, 4, 4, 3)), rng.normal(size=6)
    return {"noise": noise.astype(np.float32), "time": time.astype(np.float32)}


def expected(objective, real, labels, draws, a=0.5):
    """The loss and its derivative with respect to a, in float64."""
    x_1, x_0, n = (np.asarray(x, np.float64) for x in (real, draws["noise"], draws["time"]))
    t = 1.0 / (1.0 + np.exp(-(objective.time_mean + objective.time_std * n)))[:, None, None, None]
    x_t = (1.0 - t) * x_0 + t * x_1
    velocity = a * x_t + t
    if objective.conditional:
        velocity = velocity + labels[:, None, None, None]
    error = velocity - (x_1 - x_0)
    return np.mean(error**2), np.mean(2.0 * error * x_t)


@pytest.mark.parametrize("conditional", [False, True])
def test_loss_and_gradient_are_the_formulas_in_one_part_or_three(rng, draws, conditional):
    objective = FlowObjective(4, 3, time_mean=-0.4, time_std=1.3, conditional=conditional)
    images, labels = rng.integers(0, 256, (6, 4, 4, 3), dtype="uint8"), np.array([0, 2, 1, 1, 0, 3])
    batch = objective.batch(images, labels, {})
    loss, slope = expected(objective, images / 127.5 - 1.0, labels, draws)
    for parts in (1, 3):
        (gradient,), metrics = own_gradients(
            objective, Line(), batch, draws, micro_batches=parts, scale=8.0
        )
        assert list(metrics) == list(objective.metrics)
        assert float(metrics["velocity_loss"]) == pytest.approx(loss, rel=1e-6)
        assert float(gradient) == pytest.approx(8.0 * slope, rel=1e-5)


def test_latents_are_drawn_from_the_posterior_and_scaled(rng):
    objective = FlowObjective(4, 2, scaling_factor=0.5)
    mean, std, noise = rng.normal(size=(3, 5, 4, 4, 2))
    moments = np.concatenate([mean, std], axis=-1)
    ((name, draw),) = objective.batch_draws().items()
    assert draw.shape == (4, 4, 2) and draw.kind == "normal"
    batch = objective.batch({"moments": moments}, np.zeros(5, int), {name: noise})
    real = ops.convert_to_numpy(batch["real"])
    np.testing.assert_allclose(real, 0.5 * (mean + std * noise), rtol=1e-5, atol=1e-6)


def test_times_are_logit_normal(rng):
    """Half of them are below sigmoid(mean), and 68 % within a deviation of logits around it."""
    objective = FlowObjective(1, 1, time_mean=0.8, time_std=0.5)
    seen = []

    class Watch(Line):
        def velocity(self, x, t, labels=None):
            seen.append(ops.convert_to_numpy(t))
            return super().velocity(x, t)

    draws = {"noise": rng.normal(size=(20_000, 1, 1, 1)), "time": rng.normal(size=20_000)}
    draws = {name: value.astype(np.float32) for name, value in draws.items()}
    objective.own_loss(Watch(), {"real": draws["noise"]}, draws)
    logits = np.log(seen[0] / (1.0 - seen[0]))
    assert np.median(logits) == pytest.approx(0.8, abs=0.02)
    assert np.mean(np.abs(logits - 0.8) < 0.5) == pytest.approx(0.683, abs=0.02)
