"""Numbers one may publish, as functions of sets of images or of generators.

from ladagan_tf import evaluation

evaluation.frechet_distance("data/photos-64", "runs/photos", features="inception")
"""

from ladagan_tf import offering

QUICK_METRICS = ("fid", "fcd", "fd", "swd")  # during training; each is lower for better images
# Name -> the module that has it; __init__.pyi tells them to type checkers.
_OFFERED = dict.fromkeys(
    (
        "density_coverage",
        "evaluate",
        "frechet_distance",
        "inception_score",
        "kernel_distance",
        "perceptual_path_length",
        "precision_recall",
        "sliced_wasserstein_distance",
    ),
    "ladagan_tf.evaluation.comparing",
)
__getattr__, __dir__ = offering(__name__, _OFFERED)
