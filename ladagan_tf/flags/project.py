"""Flags of `python -m ladagan_tf.project`."""

from absl import flags

from ladagan_tf.flags import common
from ladagan_tf.systems import group


def define():
    """Defines them."""
    common.define_generator("project into")
    _define_picture()
    _define_search()


@group("Picture")
def _define_picture():
    flags.DEFINE_string("image", None, "The picture to find. Required.", required=True)
    flags.DEFINE_boolean(
        "resize",
        False,
        "Take a picture of any size: its centred square, resized as ladagan_tf.prepare does.",
    )
    flags.DEFINE_string(
        "out",
        None,
        "What to write: NAME.gif or .mp4, the picture beside what is found, step by step; or "
        "NAME.png, at the end. It replaces such a file. The latent lies beside it, in "
        "NAME.latents.npz, which --latents of ladagan_tf.generate takes. Required.",
        required=True,
    )
    flags.DEFINE_float("fps", 20.0, "Frames per second.", lower_bound=0.1)
    flags.DEFINE_list(
        "classes", None, "Conditional models: the class to look in, one, by number or name."
    )


@group("Search")
def _define_search():
    flags.DEFINE_enum(
        "space",
        "z",
        ["z", "w"],
        "What to look for: z, which every generator takes; or w, of a GAT: the style, which need "
        "not be one that its mapping makes of any z.",
    )
    flags.DEFINE_integer("steps", 500, "Steps of Adam.", lower_bound=1)
    flags.DEFINE_integer(
        "starts",
        8,
        "Latents that are moved at once, the nearest of 64 times as many random ones; the one that "
        "ends nearest is kept.",
        lower_bound=1,
        upper_bound=4096,
    )
    flags.DEFINE_float(
        "learning_rate",
        0.1,
        "The highest rate of Adam; it rises in the first 5 % of the steps and falls in the last "
        "25 %.",
        lower_bound=1e-6,
    )
    flags.DEFINE_string(
        "features",
        "auto",
        "Features to compare beside pixels: classifier:FILE.keras, inception, dinov2, none; auto: "
        "of the classifier that comes with a model of the zoo or lies beside the set of --run_dir, "
        "else none.",
    )
    flags.DEFINE_float(
        "feature_weight",
        0.1,
        "Weight of the distance of features; that of pixels has 1.",
        lower_bound=0.0,
    )
    common.define_seed("Which random latents it begins with.")
    flags.adopt_module_key_flags(common)
