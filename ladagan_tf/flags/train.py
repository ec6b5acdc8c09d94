"""Flags of `train.py`; `flags.start` says what they mean together."""

import re

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import QUICK_METRICS
from ladagan_tf.flags import common
from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.runs import DEFAULT_RATE
from ladagan_tf.sampling import posthoc
from ladagan_tf.systems import cat, flow, group, lada
from ladagan_tf.systems import gat as gat_system
from ladagan_tf.training import SCHEDULES

FLAGS = flags.FLAGS
SYSTEMS = {"lada": lada, "gat": gat_system, "cat": cat, "flow": flow}


def define():
    """Defines those of all systems."""
    _define_data_flags()
    _define_network_flags()
    for system in SYSTEMS.values():
        system.define()
        flags.adopt_module_key_flags(system)
    _define_objective_flags()
    _define_optimizer_flags()
    _define_average_flags()
    _define_schedule_flags()
    _define_run_flags()
    _define_metric_flags()
    common.define_measuring()
    _define_device_flags()
    flags.adopt_module_key_flags(common)


@group("Data")
def _define_data_flags():
    flags.DEFINE_string(
        "dataset",
        None,
        "Images to train on: a folder made by ladagan_tf.prepare (with --latents for GAT), "
        "tfds:NAME[@SPLIT], or shapes; the last two are prepared into data/ on first use. "
        "Required.",
    )
    common.define_data_dir()
    flags.DEFINE_integer(
        "resolution", None, "Side of the images in pixels; the preset's or the set's by default."
    )
    flags.DEFINE_boolean("flip", False, "Mirror images at random.")
    flags.DEFINE_float("subset", 1.0, "Share of the images to train on, in (0, 1].")


@group("Networks")
def _define_network_flags():
    flags.DEFINE_enum(
        "system",
        "lada",
        list(SYSTEMS),
        "lada: LadaGAN on images; gat: GAT on the latents of an autoencoder; cat: CAT on them, as "
        "far as it is known; flow: flow matching, no GAN, on images or latents.",
    )
    flags.DEFINE_enum(
        "attention",
        None,
        list(ATTENTIONS),
        "Attention of LadaGAN's generator, or of the networks of GAT, CAT or a flow (additive or "
        "dot_product).",
    )
    flags.DEFINE_integer("noise_dim", None, "Numbers in a latent z.")
    flags.DEFINE_integer(
        "num_classes",
        None,
        "Classes, as in the set; of LadaGAN and a flow with --conditional as many as there are.",
    )


@group("Objective")
def _define_objective_flags():
    flags.DEFINE_float("r1_weight", None, "Weight of R1, at every step; 0: off.")
    flags.DEFINE_float(
        "r2_weight", None, "Weight of R2, R1 at generated samples, at every step; 0: off."
    )
    flags.DEFINE_float(
        "penalty_share",
        None,
        "Share of the batch that R1 and R2 are taken at, one part of a whole number: 0.25 is every "
        "fourth image.",
    )
    flags.DEFINE_float(
        "centring_weight",
        0.0,
        "Weight of the squared sum of a pair's logits, which a relativistic loss leaves free, as "
        "0.01 (AdvFlow); 0: off.",
    )


@group("Optimiser")
def _define_optimizer_flags():
    flags.DEFINE_float("g_lr", DEFAULT_RATE, "Adam learning rate of the generator.")
    flags.DEFINE_float("d_lr", DEFAULT_RATE, "Adam learning rate of the discriminator.")
    flags.DEFINE_float("beta1", None, "Adam beta 1 of all networks.")
    flags.DEFINE_float("beta2", 0.99, "Adam beta 2 of all networks.")
    flags.DEFINE_float("epsilon", None, "Adam epsilon.")
    flags.DEFINE_float(
        "clip_norm", None, "Largest joint gradient norm of a network; 0: no clipping."
    )
    flags.DEFINE_float("ema_decay", 0.999, "EMA decay per step.")
    flags.DEFINE_float(
        "ema_halflife_kimg",
        0.0,
        "If not 0, the EMA's half-life in thousands of images, instead of --ema_decay.",
    )
    flags.DEFINE_float(
        "ema_rampup",
        0.05,
        "With --ema_halflife_kimg and --ema_halflives_kimg: the half-life is at most this share of "
        "the images seen; 0: no ramp-up.",
    )


@group("Averages beside the first")
def _define_average_flags():
    flags.DEFINE_list(
        "ema_decays",
        "",
        "Also keep averages with these decays per step, as 0.999,0.9999, which --average of "
        "generate and evaluate chooses.",
    )
    flags.DEFINE_list(
        "ema_halflives_kimg", "", "Also keep averages with these half-lives, as 100,500."
    )
    flags.DEFINE_boolean(
        "posthoc_ema",
        False,
        "Also store power-function averages (EDM2) at every checkpoint that is due, of which "
        "ladagan average makes an average of any length.",
    )
    flags.DEFINE_list(
        "posthoc_sigma_rel",
        list(posthoc.DEFAULT_SIGMA_REL),
        "With --posthoc_ema: the lengths that are stored, each the standard deviation of the "
        "average's profile over time as a share of the time trained.",
    )


@group("Schedules and augmentation")
def _define_schedule_flags():
    flags.DEFINE_enum(
        "schedule",
        "constant",
        list(SCHEDULES),
        "How --lr_final, --penalty_final and --augment_p are reached: linear, along half a cosine, "
        "or not at all (constant).",
    )
    flags.DEFINE_float(
        "schedule_kimg", None, "Thousands of images until they are reached; they stay after that."
    )
    flags.DEFINE_float("lr_final", 1.0, "All learning rates at the end, as a share of the first.")
    flags.DEFINE_float(
        "penalty_final",
        1.0,
        "Weights of R1 and R2 at the end, as a share of the first.",
    )
    flags.DEFINE_float("augment_p", 1.0, "Probability with which an image is augmented at all.")
    flags.DEFINE_boolean(
        "augment_pairs", False, "Augment the real and the generated image of a pair alike."
    )
    flags.DEFINE_boolean("augment_ramp", False, "Begin that probability at 0, for --schedule.")
    flags.DEFINE_float(
        "augment_target",
        0.0,
        "Adapt that probability, from 0 on, so that the mean sign of D at reals stays here, as 0.6 "
        "(StyleGAN2-ADA); 0: off.",
    )
    flags.DEFINE_float(
        "augment_kimg",
        500.0,
        "With --augment_target: thousands of images in which it can rise from 0 to 1.",
    )


@group("Run")
def _define_run_flags():
    flags.DEFINE_string(
        "config",
        None,
        "An experiment that ships, by its name, or any flagfile; list shows them. Flags behind it "
        "count more than its own, as behind --flagfile.",
    )
    flags.DEFINE_string(
        "run_dir",
        None,
        "Folder of the run; runs/<name of the config> by default, or the folder of the "
        "--flagfile if that is the flags.cfg of a run.",
    )
    flags.DEFINE_float(
        "total_kimg",
        None,
        "Length of the run in thousands of images.",
        upper_bound=common.MOST_KIMG,
    )
    flags.DEFINE_integer("batch_size", None, "Images per step over all devices (global).")
    common.define_seed("All randomness derives from it.")
    flags.DEFINE_float("log_kimg", 10.0, "Window of stats.jsonl and of log.txt in kimg.")
    flags.DEFINE_float("sample_kimg", 500.0, "Sample grid every so many kimg.")
    flags.DEFINE_float("checkpoint_kimg", 500.0, "Checkpoint every so many kimg.")
    flags.DEFINE_integer("keep_checkpoints", 2, "Latest checkpoints kept.")
    flags.DEFINE_integer(
        "grid",
        8,
        "Sample grids have this many rows and columns.",
        lower_bound=1,
        upper_bound=256,
    )
    flags.DEFINE_integer(
        "scale",
        None,
        "Whole factor by which images of sample grids are enlarged; by default the largest that "
        "keeps a grid within 640 pixels.",
        lower_bound=1,
        upper_bound=64,
    )
    flags.DEFINE_float(
        "spike_factor",
        3.0,
        "Count a step as a spike where a network's gradient norm is above this many times its "
        "median over the last 50 steps.",
    )
    flags.DEFINE_enum(
        "draw_keys",
        "64",
        ["32", "64"],
        "Bits of the keys that a step's draws derive from. Runs that began before there was a "
        "choice have 32, which they keep.",
    )
    flags.DEFINE_string(
        "init_from",
        None,
        "Start from trained weights, where names and shapes are the same, with new optimizers: "
        "RUN (its best checkpoint), RUN/checkpoints/step-N, FILE.keras, the authors' folder or "
        "file, hf:USER/REPO or zoo:NAME.",
    )
    flags.register_validator("init_from", common.is_known)
    flags.DEFINE_integer(
        "freeze_d",
        0,
        "With --init_from: keep the first so many blocks of D, counted from the image (FreezeD).",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "wandb",
        None,
        "Project of Weights & Biases to show the run in as well (the wandb extra); with "
        "WANDB_MODE=offline in the environment it stays on this machine.",
    )
    flags.DEFINE_boolean("dry_run", False, "Print the resolved run and its cost, then exit.")
    flags.DEFINE_float(
        "measure_seconds",
        0.0,
        "Time training steps on random data for so many seconds, three steps at least, and print "
        "what they cost as JSON, then exit; without a set, a teacher or a run. Networks that "
        "memory does not suffice for are only estimated. 0: train.",
        lower_bound=0.0,
        upper_bound=1e6,
    )
    flags.DEFINE_boolean(
        "force", False, "Continue a run although flags that change its mathematics differ."
    )


@group("Device")
def _define_device_flags():
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored", "multiworker", "tpu"],
        "One device, all GPUs of this machine, the workers of TF_CONFIG or of a job of Slurm, or a "
        "TPU.",
    )
    flags.DEFINE_float(
        "worker_wait",
        600.0,
        "With --strategy=multiworker: how many seconds to wait for the other workers to begin.",
        lower_bound=1.0,
        upper_bound=1e6,
    )
    common.define_computing(
        "Compile the gradients with XLA; auto is on for GPUs and TPUs, off for CPUs.",
        "Arithmetic of the networks.",
    )
    flags.DEFINE_integer(
        "micro_batches",
        1,
        "Parts each device's batch is computed in, to save memory.",
    )


@group("Metric during training")
def _define_metric_flags():
    flags.DEFINE_enum(
        "metric",
        "none",
        ["none", *QUICK_METRICS],
        "Quick metric during training, which chooses the best checkpoint: fid (with Inception),"
        " fcd (with a classifier), fd (with DINOv2), swd (without a network).",
    )
    flags.DEFINE_float("metric_kimg", 500.0, "Measure every so many kimg.")
    flags.DEFINE_integer("metric_images", 5_000, "Images of each side of a measurement.")


def foreign(system):
    """Names of the flags that other systems have, and this one has not.

    Raises:
        InputError: if one of them is given.
    """
    names = of_others(system)
    given = [name for name in sorted(names) if FLAGS[name].present]
    if given:
        raise InputError(f"--{given[0]}: there is no such flag with --system={system}")
    return names


def of_others(system):
    """Names of the flags that other systems have, and this one has not: set of str."""
    names = {
        name: {flag.name for flag in FLAGS.get_key_flags_for_module(module)}
        for name, module in SYSTEMS.items()
    }
    return set().union(*names.values()) - names[system] | SYSTEMS[system].WITHOUT


def shown(words):
    """What `--help` shows of all systems' flags, given beside it the rest of a command line.

    Args:
        words: list of str, in which the last --system counts.

    Returns:
        (set of names to leave out, dict of the chosen system's defaults, set of the flags whose
        values there are unconfirmed, line on what is left out).
    """
    chosen = re.findall(r"^--?system[=\n](\w+)", "\n".join(words), re.M)
    system = chosen[-1] if chosen and chosen[-1] in SYSTEMS else FLAGS["system"].default
    others = ", ".join(name for name in SYSTEMS if name != system)
    note = f"below: the networks of --system={system}; with {others} --help shows others"
    return of_others(system), SYSTEMS[system].DEFAULTS, SYSTEMS[system].UNCONFIRMED, note
