"""Every flag, grouped by the entry points that use it."""

from absl import flags

from ladagan_tf.models.sizes import PRESETS


def define_prepare_flags():
    """Defines the flags of `python -m ladagan_tf.prepare`."""
    flags.DEFINE_string(
        "source",
        None,
        "Images to prepare: a folder or .zip (one subfolder per class, or none), an .npz "
        "(`images`, optionally `labels`), tfds:NAME[@SPLIT], or shapes. Required.",
        required=True,
    )
    flags.DEFINE_string(
        "out", None, "Folder to make; it must not exist yet. Required.", required=True
    )
    flags.DEFINE_integer(
        "resolution", None, "Side of the prepared images, in pixels. Required.", required=True
    )
    flags.DEFINE_enum(
        "crop",
        "centre",
        ["centre", "none"],
        "centre: the largest centred square (default); none: stretch the whole image.",
    )
    flags.DEFINE_enum(
        "resize_filter",
        "lanczos",
        ["lanczos", "bicubic", "bilinear", "box"],
        "Antialiased resize filter; lanczos by default.",
    )
    flags.DEFINE_string(
        "background",
        "white",
        "Colour behind transparent pixels: R,G,B from 0 to 255 each, or a name; white by default.",
    )
    flags.DEFINE_integer(
        "min_side",
        None,
        "Shortest side, in pixels, of a usable image; a quarter of --resolution by default.",
        lower_bound=1,
    )
    flags.DEFINE_boolean(
        "skip_bad",
        False,
        "Leave out, count and list images that are broken or too small, instead of stopping at "
        "the first; off by default.",
    )
    flags.DEFINE_integer(
        "workers",
        None,
        "Number of processes; one per core by default, one in all below 2,000 images.",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "shards",
        None,
        "Number of record files; by default a new one every 64 MiB.",
        lower_bound=1,
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
    flags.DEFINE_integer("seed", 0, "Which shapes are drawn (only --source=shapes); 0 by default.")
    flags.DEFINE_integer(
        "num_images",
        10_000,
        "How many shapes are drawn, in images (only --source=shapes); 10000 by default.",
        lower_bound=1,
    )


def define_train_flags():
    """Defines the flags of `train.py`. Sizes without a value come from --preset."""
    _define_data_flags()
    _define_size_flags()
    _define_objective_flags()
    _define_run_flags()


def _define_data_flags():
    flags.DEFINE_string(
        "dataset",
        None,
        "Images to train on: a folder made by ladagan_tf.prepare, tfds:NAME[@SPLIT], or shapes; "
        "the last two are prepared into data/ on first use. Required.",
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
    flags.DEFINE_boolean("flip", False, "Mirror images at random; off by default.")
    flags.DEFINE_float(
        "subset", 1.0, "Share of the images to train on, in (0, 1]; all (1.0) by default."
    )


def _define_size_flags():
    flags.DEFINE_enum(
        "preset",
        "cifar10_32",
        list(PRESETS),
        "Network sizes of the paper; the flags of this group replace single ones. cifar10_32 by "
        "default.",
    )
    flags.DEFINE_integer("resolution", None, "Side of the images in pixels: 32, 64, 128 or 256.")
    flags.DEFINE_integer("noise_dim", 128, "Size of the latent; 128 by default.")
    flags.DEFINE_list("g_widths", None, "Generator: token widths at 8x8, 16x16 and 32x32.")
    flags.DEFINE_list("g_heads", "4,4,4", "Generator: attention heads per block; 4,4,4 by default.")
    flags.DEFINE_list(
        "g_mlp_widths", "512,512,512", "Generator: MLP units per block; 512,512,512 by default."
    )
    flags.DEFINE_list(
        "g_decoder_widths",
        None,
        "Generator: channels of the convolutional decoder's stages; empty for a patch head.",
    )
    flags.DEFINE_list(
        "d_widths", None, "Discriminator: channels of the first convolution and each down block."
    )
    flags.DEFINE_list(
        "d_out_widths", "512,1024", "Discriminator: channels of the head; 512,1024 by default."
    )
    flags.DEFINE_integer("d_heads", 4, "Discriminator: attention heads; 4 by default.")
    flags.DEFINE_integer("d_mlp_width", 512, "Discriminator: MLP units; 512 by default.")
    flags.DEFINE_enum(
        "score",
        "full",
        ["full", "per_head"],
        "Attention scores from the whole query (official code; default) or from each head's part "
        "of it (paper).",
    )


def _define_objective_flags():
    flags.DEFINE_enum(
        "loss", "nsl", ["nsl", "hinge"], "Adversarial loss: non-saturating logistic, or hinge."
    )
    flags.DEFINE_float("r1_weight", 1e-4, "Weight of R1, at every step; 1e-4 by default, 0: off.")
    flags.DEFINE_string(
        "policy",
        "color,translation",
        "DiffAugment steps among color, translation, cutout; color,translation by default.",
    )
    flags.DEFINE_boolean("bcr", False, "Balanced consistency regularisation; off by default.")
    flags.DEFINE_float("bcr_weight", 0.1, "Its weight; 0.1 by default.")
    flags.DEFINE_float("g_lr", 2e-4, "Adam learning rate of the generator; 2e-4 by default.")
    flags.DEFINE_float("d_lr", 2e-4, "Adam learning rate of the discriminator; 2e-4 by default.")
    flags.DEFINE_float("beta1", 0.5, "Adam beta 1 of both networks; 0.5 by default.")
    flags.DEFINE_float("beta2", 0.99, "Adam beta 2 of both networks; 0.99 by default.")
    flags.DEFINE_float("clip_norm", 0.0, "Largest joint gradient norm; 0 (default): no clipping.")
    flags.DEFINE_float("ema_decay", 0.999, "EMA decay per step; 0.999 by default.")
    flags.DEFINE_float(
        "ema_halflife_kimg",
        0.0,
        "If not 0, the EMA's half-life in thousands of images, instead of --ema_decay.",
    )
    flags.DEFINE_float(
        "ema_rampup",
        0.05,
        "With --ema_halflife_kimg: the half-life is at most this share of the images seen; 0.05 "
        "by default, 0: no ramp-up.",
    )


def _define_run_flags():
    flags.DEFINE_string(
        "run_dir", None, "Folder of the run; runs/<name of the --flagfile> by default."
    )
    flags.DEFINE_float(
        "total_kimg", 68_096, "Length of the run in thousands of images; 68096 by default."
    )
    flags.DEFINE_integer(
        "batch_size", 128, "Images per step over all devices (global); 128 by default."
    )
    flags.DEFINE_integer(
        "micro_batches",
        1,
        "Parts each device's batch is computed in, to save memory; 1 by default.",
    )
    flags.DEFINE_integer("seed", 0, "All randomness derives from it; 0 by default.")
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored", "multiworker", "tpu"],
        "One device (default), all GPUs of this machine, the workers of TF_CONFIG, or a TPU.",
    )
    flags.DEFINE_integer(
        "virtual_cpus", 1, "Split the CPU into this many devices, to try --strategy=mirrored."
    )
    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "Compile the gradients with XLA; auto (default) is on for GPUs and TPUs, off for CPUs.",
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Arithmetic of the networks; float32 by default.",
    )
    flags.DEFINE_float("log_kimg", 10.0, "Window of stats.jsonl in kimg; 10 by default.")
    flags.DEFINE_float("sample_kimg", 500.0, "Sample grid every so many kimg; 500 by default.")
    flags.DEFINE_float("checkpoint_kimg", 500.0, "Checkpoint every so many kimg; 500 by default.")
    flags.DEFINE_integer("keep_checkpoints", 2, "Latest checkpoints kept; 2 by default.")
    flags.DEFINE_integer("grid", 8, "Sample grids have this many rows and columns; 8 by default.")
    flags.DEFINE_boolean("dry_run", False, "Print the resolved run and its cost, then exit.")
    flags.DEFINE_boolean(
        "force", False, "Continue a run although flags that change its mathematics differ."
    )
