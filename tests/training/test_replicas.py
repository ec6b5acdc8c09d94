"""Two replicas on halves of the batch train as one on the whole (without batch norm)."""

import json
import subprocess
import sys

import numpy as np
import pytest

SETUP = """
import json, sys
import numpy as np, keras, tensorflow as tf
from ladagan_tf.training.adversarial import AdversarialModel
count, path = int(sys.argv[1]), sys.argv[2]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
devices = [f"CPU:{i}" for i in range(count)]
strategy = tf.distribute.MirroredStrategy(devices) if count > 1 else tf.distribute.get_strategy()
rng = np.random.default_rng(0)
"""
LADA = """
from ladagan_tf.training.lada import LadaObjective
layers = keras.layers

def dense(units, activation, seed):
    orthogonal = keras.initializers.Orthogonal(seed=seed)
    return layers.Dense(units, activation, kernel_initializer=orthogonal)

def generator():
    return keras.Sequential(
        [keras.Input((4,)), dense(192, "tanh", 1), layers.Reshape((8, 8, 3))])

with strategy.scope():
    discriminator = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), dense(6, "tanh", 2), dense(25, None, 3)])
    objective = LadaObjective(noise_dim=4, resolution=8, r1_weight=0.1, bcr=True)
    model = AdversarialModel(generator(), discriminator, generator(), objective, seed=5)
    model.compile(*[keras.optimizers.Adam(2e-3, 0.5, 0.99) for _ in range(2)], ema_decay=0.5)
images = rng.integers(0, 256, (12, 8, 8, 3), dtype="uint8")
data = images, np.zeros(12, "int32")
"""
GAT = """
from ladagan_tf.models.gat import GatDiscriminator, GatGenerator
from ladagan_tf.training.gat import GatObjective
keras.utils.set_random_seed(0)
sizes = dict(latent_size=4, width=8, num_heads=2, num_classes=3, levels=2)
with strategy.scope():
    generators = [GatGenerator(**sizes, depth=2, noise_dim=4) for _ in range(2)]
    discriminator = GatDiscriminator(**sizes, depth=1, class_dim=8, teacher_dim=None)
    objective = GatObjective(noise_dim=4, latent_size=4, levels=2)
    model = AdversarialModel(generators[0], discriminator, generators[1], objective, seed=5)
    # A large epsilon: with GAT's beta 1 of 0 an update is the sign of what may be rounding.
    model.compile(
        *[keras.optimizers.Adam(2e-3, 0.0, 0.99, 1e-2) for _ in range(2)], ema_decay=0.5)
moments = rng.normal(size=(12, 4, 4, 8)).astype("float32")
data = {"moments": moments}, np.array([0, 1, 1, 0, 1, 1, 0, 1, 0, 0, 0, 1], "int32")
"""
RUN = """
data = tf.data.Dataset.from_tensor_slices(data).batch(4, drop_remainder=True)
model.fit(data, epochs=1, verbose=0)
networks = model.generator, model.discriminator, model.averaged
weights = [w for network in networks for w in network.get_weights()]
np.savez(path, *weights, step=model.step.numpy())
print(json.dumps(model.window.results()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("system", [LADA, GAT], ids=["lada", "gat"])
def test_two_replicas_train_as_one(tmp_path, system):
    """GAT's mean styles included: the classes of a batch are spread unevenly over the replicas."""
    results, weights = [], []
    for count in (1, 2):
        path = tmp_path / f"{count}.npz"
        done = subprocess.run(
            [sys.executable, "-c", SETUP + system + RUN, str(count), str(path)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        results.append(json.loads(done.stdout.splitlines()[-1]))
        weights.append(dict(np.load(path)))
    one, two = weights
    assert int(one["step"]) == 3
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, atol=1e-5, err_msg=key)
    assert results[1] == pytest.approx(results[0], rel=1e-3, abs=1e-5)
