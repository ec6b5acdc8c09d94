"""GAT with additive attention trains, and a run continues exactly where it stopped."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.training.gat import GatObjective

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.runs.checkpoints import Checkpoints  # noqa: E402
from ladagan_tf.training.adversarial import AdversarialModel  # noqa: E402
from ladagan_tf.training.optimizers import FusedAdam  # noqa: E402

SIZE, CLASSES, LEVELS, Z, BATCH = 4, 3, 2, 4, 2
pytestmark = pytest.mark.usefixtures("eagerly")


def make(seed):
    keras.utils.set_random_seed(seed)
    sizes = {"latent_size": SIZE, "patch": 1, "width": 16, "num_heads": 2, "levels": LEVELS}
    sizes |= {"num_classes": CLASSES, "attention": "additive"}
    generators = [GatGenerator(**sizes, depth=2, noise_dim=Z) for _ in range(2)]
    discriminator = GatDiscriminator(**sizes, depth=1, class_dim=8, teacher_dim=None)
    objective = GatObjective(noise_dim=Z, latent_size=SIZE, levels=LEVELS)
    model = AdversarialModel(generators[0], discriminator, generators[1], objective)
    adams = (FusedAdam(1e-3, 0.0, 0.99, epsilon=1e-8) for _ in range(2))
    model.compile(*adams, clip_norm=1.0)
    return model


def test_two_steps_in_two_starts_are_two_steps(tmp_path, rng):
    moments = rng.standard_normal((BATCH, SIZE, SIZE, 8)).astype("float32")
    data = {"moments": tf.constant(moments)}, tf.constant([0, 2])
    whole = make(seed=0)
    networks = whole.generator, whole.discriminator
    before = [np.array(w) for n in networks for w in n.trainable_variables]
    whole.train_step(data)
    Checkpoints(tmp_path, whole.state()).save(1, BATCH)
    whole.train_step(data)
    after = [w for n in networks for w in n.trainable_variables]
    assert all(np.any(a != b) for a, b in zip(after, before, strict=True))
    continued = make(seed=1)
    Checkpoints(tmp_path, continued.state()).restore_latest()
    continued.train_step(data)
    again = continued.state()  # walks through all layers: once
    for name, value in whole.state().items():
        assert np.all(np.isfinite(value)), name
        np.testing.assert_array_equal(again[name], value, err_msg=name)
