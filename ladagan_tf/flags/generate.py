"""Flags of `python -m ladagan_tf.generate`."""

from absl import flags

from ladagan_tf.flags import common
from ladagan_tf.systems import group


def define():
    """Defines them."""
    common.define_generator("sample from")
    _define_images()
    _define_kinds()


@group("Images")
def _define_images():
    flags.DEFINE_string(
        "seeds",
        None,
        "Seeds of the images, as 0-63,70: each always gives the same image. By default 0 and the "
        "following ones: what --grid holds, 8 for --interpolate and --sweep_psi, 6 for "
        "--attention, else 64.",
    )
    flags.DEFINE_list(
        "latents",
        None,
        "Instead of --seeds, for a .png, .gif or .mp4: files that ladagan_tf.project wrote, as "
        "cat.latents.npz,dog.latents.npz.",
    )
    flags.DEFINE_list(
        "classes",
        None,
        "Conditional models: classes, by number or name, as 0,2 or flags,food-drink, which the "
        "seeds get in turn (seed modulo their number), all by default; a .png then has one row per "
        "class, with the same seeds in each.",
    )
    common.define_truncation()
    common.define_sampler()
    flags.adopt_module_key_flags(common)
    flags.DEFINE_integer(
        "stage",
        None,
        "GAT and CAT: which of the generator's outputs to show, from 1, the roughest; the last, "
        "which is the sample, by default.",
    )
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Images computed at once; by default 32, or fewer of more than 180 px: a million pixels.",
        lower_bound=1,
        upper_bound=common.MOST_AT_ONCE,
    )


@group("Picture")
def _define_kinds():
    flags.DEFINE_string(
        "out",
        "grid.png",
        "What to write. NAME.png, .gif and .mp4 replace such a file. "
        "NAME.npz (uint8 array arr_0, images x height x width x 3; conditional models also arr_1, "
        "labels) and NAME.zip (of PNGs) must not exist; a name without ending is a folder of "
        "numbered PNGs. The last three continue where the same command was interrupted.",
    )
    flags.DEFINE_string(
        "grid", None, "Rows and columns of a .png, as 8x8; as square as possible by default."
    )
    flags.DEFINE_integer(
        "scale",
        1,
        "Whole factor by which images of a .png, .gif or .mp4 are enlarged, pixel by pixel.",
        lower_bound=1,
        upper_bound=64,
    )
    flags.DEFINE_boolean(
        "interpolate",
        False,
        "Walk from seed to seed and back to the first: .gif, .mp4, or .png with a row per pair.",
    )
    flags.DEFINE_enum(
        "interpolation",
        None,
        ["spherical", "linear"],
        "Path between latents: spherical, which keeps their length as drawn, or linear, by default "
        "only for w of --latents.",
    )
    flags.DEFINE_integer(
        "frames",
        None,
        "Of --interpolate, per pair of seeds; 24 by default, 8 in a .png.",
        lower_bound=1,
    )
    flags.DEFINE_float("fps", 20.0, "Frames per second.", lower_bound=0.1)
    flags.DEFINE_boolean(
        "attention",
        False,
        "LadaGAN: draw each image beside where every head looks at every resolution, as a .png.",
    )
    flags.DEFINE_list(
        "sweep_psi",
        None,
        "Of models with --psi: a .png with a row per psi, e.g. 0,0.5,1, of the same seeds and "
        "classes in each.",
    )
    flags.DEFINE_integer(
        "directions",
        None,
        "A .png with a row for each of so many principal directions, of a LadaGAN's first tokens "
        "or of a GAT's styles of the class, the strongest first: one image, of seed 0 by default, "
        "moved from -2 to 2 deviations.",
        lower_bound=1,
    )
