"""Every rival and switch of the ablation trains; a graph of the paper's model resumes exactly."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.transfer import freeze, name_of
from ladagan_tf.training.lada import LadaObjective

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.runs.checkpoints import Checkpoints  # noqa: E402
from ladagan_tf.training.adversarial import AdversarialModel  # noqa: E402
from ladagan_tf.training.optimizers import FusedAdam  # noqa: E402

Z, BATCH = 4, 2
PLAIN = {"generator": {}, "discriminator": {}, "objective": {}, "frozen": 0}
# Every rival and every switch is in one of them.
CASES = {
    "Fastformer, no attention residual, classes in every SLN and the tokens": {
        "generator": {"attention": "fastformer", "attention_residual": False}
        | {"num_classes": 3, "class_tokens": True},
        "discriminator": {"num_classes": 3},
        "objective": {"conditional": True},
    },
    "Linformer, MLP residual, pairs": {
        "generator": {"attention": "linformer", "mlp_residual": True},
        "objective": {"loss": "rpgan", "r2_weight": 1e-4, "augment_pairs": True}
        | {"centring_weight": 0.01},
    },
    "Swin, conv D, no R1": {
        "generator": {"attention": "swin"},
        "discriminator": {"ladaformer": False},
        "objective": {"r1_weight": 0.0},
    },
    "Swin pair, ViTGAN's SLN, no conv": {
        "generator": {"attention": "swin_pair", "modulation": "vitgan_sln", "conv": False}
    },
    "dot-product, plain LN, hinge, the first blocks of D frozen": {
        "frozen": 2,
        "generator": {"attention": "dot_product", "modulation": "layer_norm"},
        "objective": {"loss": "hinge"},
    },
}


def make(case):
    case = {**PLAIN, **case}
    keras.utils.set_random_seed(0)
    sizes = {"noise_dim": Z, "widths": (32, 8, 2), "num_heads": (2, 2, 1), "mlp_widths": (4, 4, 4)}
    sizes |= {"rank": 3, "window": 4, **case["generator"]}
    of_discriminator = {"widths": (2, 4), "out_widths": (4, 4), "num_heads": 2, "mlp_width": 4}
    objective = LadaObjective(noise_dim=Z, policy="translation", **case["objective"])
    discriminator = Discriminator(**of_discriminator, **case["discriminator"])
    freeze(discriminator, case["frozen"])
    model = AdversarialModel(
        Generator(**sizes),
        discriminator,
        Generator(**sizes),
        objective,
    )
    adam = (FusedAdam(1e-3, 0.5, 0.99) for _ in range(2))
    model.compile(*adam)
    return model


@pytest.fixture
def data(rng):
    images = rng.integers(0, 256, (BATCH, 32, 32, 3), dtype="uint8")
    return tf.constant(images), tf.constant([2, 0])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_step_moves_all_that_is_not_frozen(data, case, eagerly):
    model = make(case)
    before = [np.array(w) for w in model.generator.get_weights()]
    first = {name_of(w): keras.ops.convert_to_numpy(w) for w in model.discriminator.weights}
    model.train_step(data)
    moved = [np.any(a != b) for a, b in zip(model.generator.get_weights(), before, strict=True)]
    assert sum(moved) >= 0.9 * len(moved)  # all but biases that cancel in a softmax
    for weight in model.discriminator.weights:
        name = name_of(weight)
        is_frozen = name in model.discriminator.frozen
        first_two = name.startswith(("from_rgb", "down_16")) and "moving" not in name
        assert is_frozen == (first_two and "frozen" in case)
        if is_frozen:
            np.testing.assert_array_equal(weight, first[name])
    for name, value in model.state().items():
        assert np.all(np.isfinite(value)), name


def test_a_graph_continues_from_a_checkpoint_as_if_it_had_not_stopped(tmp_path, data):
    """Without graphs, and in a new process: test_train_cli.py."""
    model = make({})
    step = tf.function(model.train_step, autograph=False)
    checkpoints = Checkpoints(tmp_path, model.state())
    step(data)
    checkpoints.save(1, BATCH)
    step(data)
    expected = {n: keras.ops.convert_to_numpy(v) for n, v in model.state().items()}
    step(data)
    checkpoints.restore_latest()
    step(data)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
