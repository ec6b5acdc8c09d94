"""What a run learns from, by content: its paths may change, these hashes may not."""

from ladagan_tf.data import dataset_info
from ladagan_tf.weights.reading import content_sha256


def contents(folder, objective, vae=None):
    """Hashes of everything that a run reads, as its checkpoints record them.

    Args:
        folder: a prepared set.
        objective: the run's; it may have a teacher.
        vae: AutoencoderKL that decodes what its generator makes, or None.

    Returns:
        Dict of text by the names of the flags that lead there: "dataset" and, where there are any,
        "teacher" (with its kind) and "vae".
    """
    found = {"dataset": dataset_info.load_info(folder).content_sha256}
    if teacher := getattr(objective, "teacher", None):
        about = teacher.about
        weights = about.get("stored", about).get("sha256")
        found["teacher"] = f"{about['teacher']} {weights}"
    if vae:
        found["vae"] = content_sha256(vae.tensors())
    return found
