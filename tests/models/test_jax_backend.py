"""Models and objectives run, and train, under Keras's JAX backend without TensorFlow."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
from jax_process import END, ONE_CONTEXT, environment

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# TensorFlow-only tests inside skip themselves through the `tf` fixture. LadaGAN's networks run
# under JAX in jax_gradients.py.
NEUTRAL = [
    "models/test_attention.py",
    "models/test_layers.py",
    "models/test_bicubic.py",
    "models/test_gat_layers.py",
    "models/test_gat_attention.py",
    "models/test_gat_additive.py",
    "models/test_gat_blocks.py",
    "models/test_gat_mapping.py",
    "models/test_cat.py",
    "training/test_losses.py",
    "training/test_augment.py",
    "training/test_autodiff.py",
    "training/test_lada.py",
    "training/test_lada_classes.py",
    "training/test_lada_consistency.py",
    "training/test_lada_relativistic.py",
    "training/test_latent_augment.py",
    "training/test_noise_guidance.py",
    "training/test_step.py",
]
# JAX compiles every operation of every shape anew: what does not depend on the backend is left out,
# repetitions too, the scale of losses, which train.py alone has, and micro-batches for their time.
LEFT_OUT = (
    "micro_batches or start or config or refuse or 4-True or float64-1e-06 or half_precision or "
    "1-full or 8-full or 4-rows2 or same_draws or token_has_all or explicit_one or "
    "one_score_per_block or published or reading or change_of_one or without_shifts or "
    "scale_multiplies or each_image[2] or also_shift or "
    # That gradients and R1 are right, and ordered as the variables, the recorded gradients show.
    "finite_differences or gradient_are_those_of_the_formula or are_ordered_and_shaped or "
    "augmented_reals or leaves_the_adversarial or terms_one_after or "
    # Operations that other tests run, too.
    "1-per_head or 8-per_head or rows0 or alike[False] or are_divided or color_draws or "
    "equally_sensitive or its_rule or repeats_pixels or make_the_same_noise or "
    "sign_of_the_noise or mean_of_its_two_paths or one_set_of_tokens"
)
STEP = (
    "autodiff", "losses", "augment", "draws", "lada", "latent_views", "latent_objective", "gat",
    "cat", "step",
)  # fmt: skip
NETWORKS_AND_STEP = ["models.registered"]
NETWORKS_AND_STEP += [f"training.{name}" for name in STEP]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed (requirements-dev.txt)"
)


# Its arguments are the folder of recorded arrays, and then pytest's. Initial weights are drawn by a
# program for each shape, and not looked at before the tests.
SCRIPT = """
import importlib, pathlib, sys
sys.modules["tensorflow"] = None  # as if it were not installed
for name in MODULES:
    importlib.import_module(name)
from absl import flags
from ladagan_tf.flags import start, train
from ladagan_tf.models.blank import blank_of
train.define()
flags.FLAGS(["train", "--system=gat", "--size=S", "--dataset=none", "--num_classes=2"])
start.resolve()
flags.FLAGS.g_shape = flags.FLAGS.d_shape = ["16", "4", "2"]
with blank_of(float("inf")):
    train.SYSTEMS["gat"].build(None)
print("imported", flush=True)
import jax, jax_gradients, pytest
with jax.default_matmul_precision("highest"), blank_of(float("inf")):
    jax_gradients.main(pathlib.Path(sys.argv[1]))
print("compared", flush=True)
if pytest.main(sys.argv[2:]) == 0:
    print("tested")
"""


@pytest.fixture(scope="module")
def said(fixtures_dir):
    """What a process without TensorFlow says, with the JAX backend on the CPU, of all it does.

    It imports `NETWORKS_AND_STEP`, builds what `benchmarks/gpu_run.py` trains by flags alone,
    compares gradients and runs `NEUTRAL`: one process, as to import JAX and Keras takes long.
    """
    path = os.pathsep.join([str(ROOT), str(HERE), os.environ.get("PYTHONPATH", "")])
    env = environment(KERAS_BACKEND="jax", PYTHONPATH=path)
    env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # most of the time goes into compiling
    env["JAX_ENABLE_X64"] = "1"  # many tests compute in float64, as TensorFlow always can
    script = SCRIPT.replace("MODULES", str([f"ladagan_tf.{name}" for name in NETWORKS_AND_STEP]))
    tests = ["-p", "no:cacheprovider", "-k", f"not ({LEFT_OUT})"]
    tests += [str(HERE.parent / name) for name in NEUTRAL]
    done = subprocess.run(
        [sys.executable, "-c", ONE_CONTEXT + script + END, str(fixtures_dir), *tests],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.mark.slow
def test_networks_objective_and_step_import_without_tensorflow(said):
    assert "imported" in said.splitlines(), said[-4000:]


@pytest.mark.slow
def test_gradients_of_both_losses_are_the_recorded_ones_under_jax(said):
    assert "compared" in said.splitlines(), said[-4000:]


@pytest.mark.slow
def test_backend_neutral_tests_pass_under_jax(said):
    assert "tested" in said.splitlines(), said[-4000:]
