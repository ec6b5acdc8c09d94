"""What rounded weights cost: pictures beside the live model's, and the distance to real images."""

import numpy as np

from ladagan_tf import pictures, zoo
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import default_path, load_classifier
from ladagan_tf.evaluation.comparing import frechet_distance
from ladagan_tf.exporting import card
from ladagan_tf.sampling import opening

COMPARED = 64  # pictures, of seeds from 0 on
MEASURED = 256  # of a Frechet distance, which takes seconds on two cores


class Comparison:
    """Compares exported generators with a live one, whose pictures are made once.

    Args:
        sampler: Sampler with a network.
        run: `runs.directory.RunDirectory` it comes from, or None.
    """

    def __init__(self, sampler, run=None):
        self._sampler = sampler
        self._reference, self._why_not = find_reference(sampler, run)
        self._live = self._made(sampler.generate)
        self._distance = self._measured(self._live)

    def __call__(self, exported):
        """How far pictures of an exported generator are from the live one's.

        Args:
            exported: function from arrays (z, *labels) to images.

        Returns:
            (float, str): the peak signal-to-noise ratio in dB over `COMPARED` pictures, infinite
            where all is the same; and in words that, the mean and largest difference, and the
            Frechet distance beside the live model's.
        """
        ours = self._made(exported)
        levels = np.abs(self._live[:COMPARED].astype(np.float64) - ours[:COMPARED])
        with np.errstate(divide="ignore"):
            psnr = float(10 * np.log10(255**2 / np.mean(levels**2)))
        words = f"PSNR {psnr:.1f} dB" if levels.any() else "the same pictures"
        words += f", mean difference {levels.mean():.2f} and largest {levels.max():.0f} of 255 grey"
        words += " levels from the live model; "
        if not self._reference:
            return psnr, f"{words}fcd not measured: {self._why_not}"
        distance = self._measured(ours)
        change = f"{distance - self._distance:+.2f} against the live model's"
        return psnr, f"{words}fcd of {MEASURED} images {distance:.2f}, {change}"

    def _made(self, generate):
        """Pictures, a uint8 array (N, S, S, 3)."""
        count = MEASURED if self._reference else COMPARED
        few = self._sampler.affordable(COMPARED)
        parts = (range(i, min(i + few, count)) for i in range(0, count, few))
        inputs = map(self._sampler.inputs, parts)
        return np.concatenate([pictures.to_uint8(generate(*given)) for given in inputs])

    def _measured(self, images):
        if self._reference:
            real, features = self._reference
            return frechet_distance(real, images, features)
        return None


def find_reference(sampler, run=None):
    """The classifier, and real images or their moments, that lie beside a run or an entry.

    Args:
        sampler, run: see `Comparison`.

    Returns:
        ((real, features), ""), as `evaluation.frechet_distance` takes them; or (None, why not).
    """
    if run is None:
        place, about = opening.locate(str(sampler.about.get("model", "")))
        place = place if about else place.parent  # it may be a file of an entry
        real, classifier = place / zoo.REFERENCE, place / zoo.CLASSIFIER
        if not (real.is_file() and classifier.is_file()):
            return None, "a file alone has no classifier beside it"
        return (str(real), f"classifier:{classifier}"), ""
    info = card.find_set(run)
    if info is None:
        return None, "the prepared set of the run was not found from here"
    classifier = default_path(info.folder)
    try:
        trained_on = load_classifier(classifier).about.get("content_sha256")
    except InputError:
        trained_on = None
    if trained_on != info.content_sha256:
        return None, f"there is no classifier of the run's set, {classifier}"
    return (str(info.folder), f"classifier:{classifier}"), ""
