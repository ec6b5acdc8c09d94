"""GAT with additive attention trains: every weight of both networks."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.training.gat import GatObjective

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.training.adversarial import AdversarialModel  # noqa: E402
from ladagan_tf.training.optimizers import FusedAdam  # noqa: E402

SIZE, CLASSES, LEVELS, Z, BATCH = 4, 3, 2, 4, 2


def test_a_step_moves_every_weight_and_leaves_all_finite(rng, eagerly):
    keras.utils.set_random_seed(0)
    sizes = {"latent_size": SIZE, "patch": 1, "width": 16, "num_heads": 2, "levels": LEVELS}
    sizes |= {"num_classes": CLASSES, "attention": "additive"}
    generators = [GatGenerator(**sizes, depth=2, noise_dim=Z) for _ in range(2)]
    discriminator = GatDiscriminator(**sizes, depth=1, class_dim=8, teacher_dim=None)
    objective = GatObjective(noise_dim=Z, latent_size=SIZE, levels=LEVELS)
    model = AdversarialModel(generators[0], discriminator, generators[1], objective)
    adams = (FusedAdam(1e-3, 0.0, 0.99, epsilon=1e-8) for _ in range(2))
    model.compile(*adams, clip_norm=1.0)
    weights = [w for n in model.networks.values() for w in n.trainable_variables]
    before = [keras.ops.convert_to_numpy(w) for w in weights]
    moments = rng.standard_normal((BATCH, SIZE, SIZE, 8)).astype("float32")
    for _ in range(2):
        model.train_step(({"moments": tf.constant(moments)}, tf.constant([0, 2])))
    assert all(np.any(a != b) for a, b in zip(weights, before, strict=True))
    for name, value in model.state().items():
        assert np.all(np.isfinite(value)), name
