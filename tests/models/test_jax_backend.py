"""Models and objectives run, and train, under Keras's JAX backend without TensorFlow."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

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
    "scale_multiplies or each_image[2] or also_shift"
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


def under_jax(*arguments):
    """Runs Python with the JAX backend on the CPU; returns the finished process."""
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    env = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    env["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # most of the time goes into compiling
    env["JAX_ENABLE_X64"] = "1"  # many tests compute in float64, as TensorFlow always can
    return subprocess.run(
        [sys.executable, *arguments], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def alone(fixtures_dir):
    """A finished process that has no TensorFlow: it imports `NETWORKS_AND_STEP`, then compares.

    Between the two it builds what `benchmarks/gpu_run.py` trains by flags alone.
    """
    modules = [f"ladagan_tf.{name}" for name in NETWORKS_AND_STEP]
    script = (
        "import importlib, runpy, sys\n"
        "sys.modules['tensorflow'] = None  # as if it were not installed\n"
        f"for name in {modules}: importlib.import_module(name)\n"
        "from absl import flags\n"
        "from ladagan_tf.flags import start, train\n"
        "train.define()\n"
        "flags.FLAGS(['train', '--system=gat', '--size=S', '--dataset=none', '--num_classes=2'])\n"
        "start.resolve()\n"
        "flags.FLAGS.g_shape = flags.FLAGS.d_shape = ['16', '4', '2']\n"
        "train.SYSTEMS['gat'].build(None)\n"
        "print('imported', flush=True)\n"
        "runpy.run_path(sys.argv.pop(1), run_name='__main__')\n"
    )
    return under_jax("-c", script, str(HERE / "jax_gradients.py"), str(fixtures_dir))


@pytest.mark.slow
def test_networks_objective_and_step_import_without_tensorflow(alone):
    assert "imported" in alone.stdout, alone.stderr[-2000:]


@pytest.mark.slow
def test_backend_neutral_tests_pass_under_jax():
    files = [str(HERE.parent / name) for name in NEUTRAL]
    chosen = f"not ({LEFT_OUT})"
    done = under_jax("-m", "pytest", "-p", "no:cacheprovider", "-k", chosen, *files)
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.slow
def test_gradients_of_both_losses_are_the_recorded_ones_under_jax(alone):
    assert alone.returncode == 0, alone.stderr[-2000:]
