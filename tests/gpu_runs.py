"""Runs of `benchmarks/gpu_run.py` to test it by: their sets, their flags and their process."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
from in_process import command
from jax_process import END, ONE_CONTEXT, environment
from PIL import Image
from tiny_gat import VAE

from examples import set_as_npz
from ladagan_tf import prepare as prepare_verb
from ladagan_tf.data.preparation import prepare
from ladagan_tf.flags import prepare as prepare_flags
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.models.vae.autoencoder import AutoencoderKL

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLAGS = """\
--dataset=nowhere
--g_widths=32,8,8
--g_heads=1,1,1
--g_mlp_widths=4,4,4
--d_widths=4,4
--d_out_widths=4,4
--d_heads=1
--d_mlp_width=4
--noise_dim=8
--batch_size=2
--log_kimg=0.004
--g_output=softclip
--d_scale_cue
--nod_ladaformer
--r1_weight=0
--policy=
--flip
"""
# Commands one after the other, each a line, as on a machine without TensorFlow; `ended ` and then
# the status of each and the last that it said of errors.
RUNS = """
import contextlib, io, os, runpy, sys
sys.modules["tensorflow"] = None
os.environ["KERAS_BACKEND"] = "jax"
from absl import app, flags
CONVOLUTIONS
app.define_help_flags()
absl = set(flags.FLAGS)
for words in sys.argv[1:]:
    sys.argv = ["benchmarks/gpu_run.py", *words.split(" ")]
    said, code = io.StringIO(), 0
    try:
        with contextlib.redirect_stderr(said):
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code
    print("ended", code, *said.getvalue().strip().splitlines()[-1:])
    flags.FLAGS.unparse_flags()
    for name in set(flags.FLAGS) - absl:
        delattr(flags.FLAGS, name)
"""
# Before a run, in its process: `convolution` beside Keras's, each by (size, step, padding, side).
CONVOLUTIONS = """
sys.path.insert(0, "benchmarks")
import keras, numpy as np
from gpu_programs import convolution
random, found = np.random.default_rng(0), {}
for size, step, padding, side in [(1, 1, "same", 6), (3, 1, "same", 6), (3, 2, "same", 6),
                                  (3, 2, "same", 7), (4, 1, "valid", 4), (3, 2, "valid", 7)]:
    x = random.standard_normal((2, side, side, 3), np.float32)
    kernel = random.standard_normal((size, size, 3, 5), np.float32)
    for name, of in (("product", convolution), ("keras", keras.ops.conv)):
        case = f"{size},{step},{padding},{side},{name}"
        found[case] = of(x, kernel, step, padding, "channels_last")
np.savez("FILE", **found)
"""
BRIEFLY = "--minutes=0.01 --steps_per_call=2"
FLOW = "--system=flow --space=latents --conditional --num_classes=2 --dataset=nowhere"
REFUSED = {  # by the beginning of what is said
    "--subset=0.5": "--subset=0.5: train.py has it",
    "--dry_run": "--dry_run: train.py has it",
    "--metric_kimg=5": "--metric_kimg=5: train.py has it",
    "--steps_per_call=0": "--steps_per_call=0: give a positive integer",
    "--snapshots=1,abc": "--snapshots=1,abc: give numbers, as 0.1,0.5",
    "--seeds=a": "--seeds=a: give whole numbers, as 0,1,2",
    "--seeds=1,1": "--seeds=1,1: give each of them once",
    "--images=pyproject.toml": "--images=pyproject.toml: this npz archive cannot be read",
}
WRONG = {  # files that are refused: by what is said, the arrays that differ
    "no moments in it, but ": {"moments": None},
    "of shape (2, 8, 4, 8); float (N, 8, 8, 8) are accepted": {
        "moments": np.zeros((2, 8, 4, 8), "f")
    },
    "of 2 classes it must hold int `labels` (N,) from 0 to 1": {"labels": np.int32([0, 2])},
}


def runs(*lines, before=""):
    """How commands end, of a process of its own, on the CPU: status and what was said last."""
    env = environment(JAX_DISABLE_MOST_OPTIMIZATIONS="1")
    code = RUNS.replace("CONVOLUTIONS", ONE_CONTEXT + before) + END
    done = subprocess.run(
        [sys.executable, "-c", code, *lines], env=env, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stdout.splitlines() if line.startswith("ended ")]
    return [line.removeprefix("ended ") for line in said]


def images_of(folder):
    """The folder, new, with a set of images and the flags of a run on them: its path and flags."""
    folder.mkdir()
    (folder / "tiny.cfg").write_text(FLAGS)
    images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)
    np.savez(folder / "images.npz", images=images)
    keras.utils.set_random_seed(0)
    Classifier(32, ["one", "two"]).save(folder / "classifier.keras")
    return (
        f"--flagfile={folder}/tiny.cfg --images={folder}/images.npz {BRIEFLY} --snapshots=0 "
        f"--classifier={folder}/classifier.keras --out={folder}/out"
    )


def classes_of(folder):
    """As `images_of` of two seeds with classes, of a step of plain networks."""
    folder.mkdir()
    more = "--conditional\n--num_classes=3\n--g_modulation=layer_norm\n--class_tokens\n"
    (folder / "tiny.cfg").write_text(FLAGS + more)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    np.savez(folder / "images.npz", images=images, labels=np.array([0, 2, 1, 2, 0]))
    return (
        f"--flagfile={folder}/tiny.cfg --images={folder}/images.npz {BRIEFLY} --seeds=3,4 "
        f"--policy=translation --augment_target=0.6 --turn={folder}/tiny.cfg --out={folder}/out"
    )


def latents_of(folder):
    """As `images_of` of a flow on a set of latents of classes; beside it, the set and its VAE."""
    folder.mkdir()
    keras.utils.set_random_seed(0)
    AutoencoderKL(**VAE, scaling_factor=0.5).save(folder / "vae.keras")
    names = ("cat", "dog")
    for name in names:
        (folder / "photos" / name).mkdir(parents=True)
        noise = np.random.default_rng(len(names)).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(noise).save(folder / "photos" / name / "1.png")
    prepare(str(folder / "photos"), folder / "set", resolution=16)
    with command(prepare_verb, prepare_flags.define) as main:
        main(
            f"--source={folder / 'set'}",
            "--latents",
            f"--vae={folder / 'vae.keras'}",
            f"--out={folder / 'latents'}",
        )
    with command(set_as_npz, set_as_npz.define) as main:
        main(f"--dataset={folder / 'latents'}", f"--out={folder / 'latents.npz'}")
    return (
        f"{FLOW} --latent_size=8 --patch=4 --g_shape=16,1,2 --sampler_steps=1 --batch_size=2 "
        f"--log_kimg=0.004 --images={folder}/latents.npz {BRIEFLY} --out={folder}/out"
    )


def wrong_files(folder, latents):
    """Flags that give each file of `WRONG`, made from the one of latents."""
    with np.load(latents) as file:
        arrays = dict(file)
    for i, changes in enumerate(WRONG.values()):
        kept = {k: v for k, v in {**arrays, **changes}.items() if v is not None}
        np.savez(folder / f"{i}.npz", **kept)
        yield f"{FLOW} --latent_size=8 --g_shape=8,1,1 --images={folder}/{i}.npz"
