"""Flags of `evaluate.py`."""

from absl import flags

from ladagan_tf.flags import common
from ladagan_tf.models.lada.sizes import PRESETS
from ladagan_tf.sampling import seeds
from ladagan_tf.systems import group


def define():
    """Defines them."""
    _define_generated()
    _define_reference()
    _define_protocol()
    common.define_measuring()
    _define_cost()
    _define_device()
    flags.adopt_module_key_flags(common)


@group("What is measured")
def _define_generated():
    flags.DEFINE_string("run_dir", None, "Run whose generator is measured.")
    common.define_model("Generator to measure instead.")
    flags.DEFINE_string(
        "images",
        None,
        "Images to measure instead: a folder, .zip, .npz, prepared set, or a part "
        "of one, as data/emoji-64[:1890].",
    )
    common.define_checkpoint("latest, the kimg of one, or untrained, as a baseline")
    common.define_vae()
    common.define_truncation()
    common.define_sampler()
    for name, words, values in (
        ("psi", "psi, of models that have it", "0.5,0.7,0.85,1"),
        ("guidance", "guidance, of a GAT", "1,1.5,2"),
        ("truncation_z", "truncation_z", "0.5,1,2"),
        ("sampler_steps", "--sampler_steps, of a flow", "1,2,4,8,32"),
        ("average", "--average, of a run that keeps several", "0.999,0.9999"),
    ):
        flags.DEFINE_list(
            f"sweep_{name}",
            None,
            f"Measure at several values of {words}, as {values}: a line of the output for each, a "
            f"table, and curves in sweep_{name}.png beside it. The real images are read once.",
        )
    flags.DEFINE_integer(
        "num_samples",
        None,
        "Images to generate; 50000 with Inception by default, otherwise as many as real ones are "
        "measured, at most 50000. With --images: the first so many; all by default.",
        lower_bound=1,
    )
    common.define_seed("Which images are generated.")
    flags.DEFINE_integer(
        "repeats",
        1,
        "Measure so many seeds, from --seed on, and print mean and spread.",
        lower_bound=1,
        upper_bound=1000,
    )
    flags.DEFINE_enum(
        "labels",
        None,
        list(seeds.LABELS),
        "Of a conditional generator: classes in turn (balanced, as it does without), at random, "
        "or in the proportions of the real images (proportional, which changes nothing for a "
        "generator without classes).",
    )
    flags.DEFINE_string(
        "save_samples",
        None,
        "Also write the generated images: npz, or a path ending in .npz. It is the sample archive "
        "that ADM's evaluation reads.",
    )


@group("Real images")
def _define_reference():
    flags.DEFINE_string(
        "dataset",
        None,
        "Real images: a prepared folder or a part of one as data/emoji-64[1890:], "
        "tfds:NAME[@SPLIT], shapes, other images (folder, .zip, .npz), an .npz of mu and sigma, or "
        "zoo:NAME, those of the training images of a model of the zoo; by default those of "
        "--run_dir's training, or what came with a --model of the zoo: an .npz and the classifier "
        "that it is of.",
    )
    common.define_data_dir()
    flags.DEFINE_integer(
        "num_real",
        None,
        "The first so many real images; all by default. Not of statistics, but of the images that "
        "may lie beside them, for metrics that compare these.",
        lower_bound=1,
    )


@group("Metrics")
def _define_protocol():
    flags.DEFINE_list(
        "metrics",
        "",
        "Among fid, sfid, kid, is, prdc, swd, ppl with Inception; fcd, kid, is, prdc, modes, swd, "
        "ppl with a classifier; fd, kid, prdc, swd, ppl with DINOv2; authenticity, the share of "
        "images that copy no real one, with any of these; swd alone needs --features=none. By "
        "default all but authenticity and those that cost extra. ppl, the perceptual path "
        "length, is of a generator, in these features; it and is need no --dataset.",
    )
    flags.DEFINE_boolean(
        "by_class",
        False,
        "Also compare each class with the real images of it: intra-FID, or intra-FCD with a "
        "classifier. The real images must be a prepared set with the generator's classes.",
    )
    flags.DEFINE_enum(
        "engine",
        "ours",
        ["ours", "tfgan"],
        "tfgan computes fid, kid and is by tensorflow-gan, to compare.",
    )
    flags.DEFINE_string(
        "out",
        None,
        "File that a JSON line per metric is appended to; <run_dir>/metrics.jsonl by default, or "
        "metrics.jsonl here without a run.",
    )


@group("Cost, instead of measuring")
def _define_cost():
    flags.DEFINE_boolean(
        "cost",
        False,
        "Print parameters, multiply-adds, latency, throughput and memory.",
    )
    flags.DEFINE_enum("preset", None, list(PRESETS), "With --cost: an untrained network's sizes.")


@group("Device")
def _define_device():
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Images per call of the networks; by default 64, or fewer of more than 128 px: a million "
        "pixels.",
        lower_bound=1,
        upper_bound=common.MOST_AT_ONCE,
    )
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored"],
        "One device, or all GPUs of this machine.",
    )
    common.define_computing(
        "Compile with XLA; auto is on for GPUs, off for CPUs.",
        "Arithmetic of the generator. Feature networks are always float32.",
    )
