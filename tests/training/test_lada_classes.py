"""Conditional LadaGAN: losses and penalties take the label of each image."""

import keras
import numpy as np
import pytest
from keras import ops
from lada_in_numpy import (
    bcr_case,
    numbers,
    objective,
    softplus,
)

from ladagan_tf.training.autodiff import value_and_grad


class ClassyDiscriminator(keras.Model):
    """25 logits W2 tanh(W1 x + b1 + V_y) + b2: the class changes the input gradient too."""

    def __init__(self, plain):
        super().__init__()
        self.flatten, self.first, self.second = keras.layers.Flatten(), *plain.layers[-2:]
        self.first.activation = lambda x: x
        self.vectors = self.add_weight((3, 6), keras.initializers.RandomNormal(0.0, 1.0, seed=3))
        self.built = True

    def call(self, images, labels, training=False):
        rows = ops.take(ops.multiply(self.vectors, 1.0), labels, axis=0)
        return self.second(ops.tanh(self.first(self.flatten(images)) + rows))


def classy_in_numpy(weights, images, labels):
    """Logits and squared norms of their input gradients, by image."""
    v, w1, b1, w2, b2 = weights
    h = np.tanh(images.reshape(len(images), -1) @ w1 + b1 + v[labels])
    gradient = ((1 - h**2) * w2.sum(axis=1)) @ w1.T
    return h @ w2 + b2, np.sum(gradient**2, axis=1)


@pytest.mark.parametrize("every", [1, 2])
def test_losses_penalties_and_consistency_take_the_label_of_each_image(
    tiny_generator, tiny_discriminator, batch, plain_draws, every
):
    """Of fakes, too: the label of the real image in the same place."""
    discriminator = ClassyDiscriminator(tiny_discriminator())
    fake, labels = tiny_generator()(plain_draws["z"]), np.array([2, 0, 1, 2], "int32")
    batch = {**batch, "labels": ops.convert_to_tensor(labels)}
    _, draws = bcr_case(plain_draws, brightness=ops.full((4,), 0.8))
    lada = objective(
        policy="color", bcr=True, bcr_weight=0.1, r1_weight=0.3, r2_weight=0.2,
        penalty_every=every, conditional=True,
    )  # fmt: skip

    def loss():
        return lada.discriminator_loss(discriminator, batch, fake, draws)

    (total, metrics), gradients = value_and_grad(loss, discriminator)
    images = numbers([batch["real"], fake])
    order = [w.path for w in discriminator.trainable_variables]
    values = numbers(discriminator.trainable_variables)
    first = order.index(discriminator.vectors.path)
    assert first == 0 or first == len(order) - 1

    def arranged(w):
        return w if first == 0 else [w[-1], *w[:-1]]

    def formula(w):
        w = arranged(w)
        (real, r1), (fakes, r2) = (classy_in_numpy(w, x, labels) for x in images)
        moved = [classy_in_numpy(w, x + 0.3, labels)[0] for x in images]
        penalties = 0.3 * r1[::every].mean() + 0.2 * r2[::every].mean()
        consistency = np.mean((real - moved[0]) ** 2) + np.mean((fakes - moved[1]) ** 2)
        return softplus(-real).mean() + softplus(fakes).mean() + penalties + 0.1 * consistency

    np.testing.assert_allclose(total, formula(values), rtol=1e-5)
    r1 = classy_in_numpy(arranged(values), images[0], labels)[1][::every].mean()
    np.testing.assert_allclose(metrics["r1"], 0.3 * r1, rtol=1e-5)
    vectors = numbers(gradients)[first]
    assert np.abs(vectors).max(axis=1).all()


def test_the_generator_gets_the_labels_of_the_real_batch(tiny_generator, batch, plain_draws):
    plain, seen = tiny_generator(), []

    def generator(z, labels, training):
        seen.append(("G", labels))
        return plain(z)

    def discriminator(images, labels, training):
        seen.append(("D", labels))
        return ops.mean(images, axis=(1, 2, 3), keepdims=True)[:, 0, 0]

    lada, labels = objective(loss="rpgan", conditional=True), ops.convert_to_tensor([1, 0, 2, 1])
    batch = {**batch, "labels": labels}
    lada.generate(generator, batch, plain_draws)
    lada.generator_loss(generator, discriminator, batch, plain_draws)
    assert [name for name, _ in seen] == ["G", "G", "D", "D"]
    assert all(given is labels for _, given in seen)
