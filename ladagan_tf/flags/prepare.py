"""Flags of `python -m ladagan_tf.prepare`."""

from absl import flags

from ladagan_tf.data import CORRUPTIONS
from ladagan_tf.flags import common
from ladagan_tf.sampling.seeds import MAX_SEED
from ladagan_tf.systems import group


def define():
    """Defines them."""
    _define_set()
    _define_images()
    _define_selection()
    _define_damage()
    _define_latents()
    _define_work()


@group("Source and set")
def _define_set():
    flags.DEFINE_string(
        "source",
        None,
        "Images to prepare: a folder or .zip (one subfolder per class, or none), an .npz "
        "(`images`, optionally `labels`), tfds:NAME[@SPLIT], or shapes. With --latents also a set "
        "made by this command, or a folder with images/ and vae-sd/ as GAT's authors have it. "
        "Required.",
        required=True,
    )
    flags.DEFINE_string(
        "out",
        None,
        "Folder to make. If it is there already, nothing is done if it is the same set. Required.",
        required=True,
    )
    flags.DEFINE_boolean(
        "overwrite",
        False,
        "Replace a prepared set at --out that is another one, or of other files.",
    )


@group("Images")
def _define_images():
    flags.DEFINE_integer(
        "resolution",
        None,
        "Side of the prepared images, in pixels. Required, but for the latents of a prepared set.",
    )
    flags.DEFINE_enum(
        "crop",
        "centre",
        ["centre", "adm", "none"],
        "centre: the largest centred square; adm: that square of ImageNet as ADM and GAT "
        "prepare it, halved by averaging while twice too large, then bicubic, without EXIF "
        "rotation; none: stretch the whole image.",
    )
    flags.DEFINE_enum(
        "resize_filter",
        None,
        ["lanczos", "bicubic", "bilinear", "box"],
        "Antialiased resize filter; lanczos by default, with --crop=adm always bicubic.",
    )
    flags.DEFINE_string(
        "background",
        "white",
        "Colour behind transparent pixels: R,G,B from 0 to 255 each, or a name.",
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
        "Leave out, count and list images that are broken or too small; without it they are listed "
        "and the rest is kept for the next attempt, without making the set.",
    )


@group("Selection")
def _define_selection():
    flags.DEFINE_string(
        "split",
        None,
        "Of a folder or .zip with folders such as train/ and val/: which of them to take, or none "
        "to take each for a class; that for training by default.",
    )
    flags.DEFINE_integer(
        "num_classes",
        None,
        "How many classes labels that are numbers count, some perhaps without images; by default "
        "those up to the highest label, and each must have an image.",
        lower_bound=1,
        upper_bound=1_000_000,
    )
    flags.DEFINE_integer(
        "num_images",
        10_000,
        "How many shapes are drawn, in images (only --source=shapes).",
        lower_bound=1,
    )
    common.define_seed("Which shapes are drawn (only --source=shapes).")
    common.define_data_dir()
    flags.adopt_module_key_flags(common)


@group("Damage on purpose")
def _define_damage():
    flags.DEFINE_list(
        "corrupt",
        [],
        "Damage the images, as noise:0.3,labels:0.1: "
        + "; ".join(f"{kind}: {words}" for kind, words in CORRUPTIONS.items())
        + ". What befell an image stands behind its name in its record.",
    )
    flags.DEFINE_integer(
        "corrupt_seed", 0, "Which images, and how.", lower_bound=0, upper_bound=MAX_SEED
    )


@group("Work")
def _define_work():
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
        "shard",
        None,
        "Prepare one part of the images only, as 0/8 to 7/8, each by a process of its own, and put "
        "it beside --out.",
    )
    flags.DEFINE_boolean(
        "merge",
        False,
        "Make the set of the parts that the same command with --shard has put there.",
    )


@group("Latents")
def _define_latents():
    flags.DEFINE_boolean("latents", False, "Store latents of the images, which GAT trains on.")
    flags.DEFINE_string(
        "vae",
        None,
        "Autoencoder whose latents to store: sd15, sd-mse, sd-ema, or a file of weights, e.g. of "
        "ladagan_tf.train_vae. Required with --latents.",
    )
    flags.DEFINE_enum(
        "latent_dtype",
        "float16",
        ["float16", "float32"],
        "What stored moments are rounded to.",
    )
    flags.DEFINE_boolean(
        "store_images",
        True,
        "Keep the images beside the latents, for a teacher and for metrics.",
    )
    flags.DEFINE_string(
        "store_teacher",
        None,
        "With --latents: store the features of a teacher, dinov2, dinov2:PRESET or "
        "classifier:FILE.keras, so that train.py --teacher=stored need not compute them; none by "
        "default.",
    )
    flags.DEFINE_integer(
        "encode_batch",
        16,
        "Images to encode at once.",
        lower_bound=1,
        upper_bound=common.MOST_AT_ONCE,
    )
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored"],
        "Encode on one device, or all GPUs of this machine.",
    )
