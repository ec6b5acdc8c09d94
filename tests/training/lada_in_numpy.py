"""LadaGAN's losses for a discriminator of two layers, in float64 NumPy and by hand."""

import numpy as np
from keras import ops

from ladagan_tf.training.lada import LadaObjective


def objective(**kwargs):
    return LadaObjective(**{"noise_dim": 4, "resolution": 8, "policy": "", **kwargs})


def numbers(tensors):
    return [ops.convert_to_numpy(t).astype("float64") for t in tensors]


def logits_in_numpy(weights, images):
    w1, b1, w2, b2 = weights
    return np.tanh(images.reshape(len(images), -1) @ w1 + b1) @ w2 + b2


def r1_in_numpy(weights, images):
    """mean over images of ||d sum_k D_k / dx||^2 of W2 tanh(W1 x + b1) + b2, analytically."""
    w1, b1, w2, _ = weights
    h = np.tanh(images.reshape(len(images), -1) @ w1 + b1)
    gradient = ((1 - h**2) * w2.sum(axis=1)) @ w1.T
    return np.mean(np.sum(gradient**2, axis=1))


def softplus(x):
    return np.logaddexp(0.0, x)


def total_in_numpy(weights, real, fake, r1_weight):
    d_loss = softplus(-logits_in_numpy(weights, real)).mean()
    d_loss += softplus(logits_in_numpy(weights, fake)).mean()
    return d_loss + r1_weight * r1_in_numpy(weights, real)


def directional_difference(fn, weights, direction, step=1e-5):
    high, low = (
        [w + s * step * d for w, d in zip(weights, direction, strict=True)] for s in (1, -1)
    )
    return (fn(high) - fn(low)) / (2 * step)


def assert_gradient(fn, weights, gradients, rng):
    """`gradients` agree with central differences of `fn` along random directions."""
    for i, gradient in enumerate(gradients):
        for _ in range(3):
            direction = [np.zeros_like(w) for w in weights]
            direction[i] = rng.standard_normal(weights[i].shape)
            expected = directional_difference(fn, weights, direction)
            slack = 1e-5 * np.linalg.norm(gradient) * np.linalg.norm(direction[i]) + 1e-6
            assert abs(np.sum(gradient * direction[i]) - expected) < slack


def neutral(count=4):
    names = ("brightness", "saturation", "contrast")
    return {name: ops.full((count,), 0.5) for name in names}


def bcr_case(plain_draws, **changes):
    draws = {**plain_draws, "real": neutral() | changes, "fake": neutral() | changes}
    return objective(policy="color", bcr=True, bcr_weight=0.1), draws
