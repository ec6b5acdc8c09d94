"""A set that TFDS builds here with all of its own machinery, which mocks leave out."""

import numpy as np
import tensorflow_datasets as tfds


class HandmadeTfdsSet(tfds.core.GeneratorBasedBuilder):
    """Six grey images, the lighter three of class `bright`. In a package, as every set of TFDS's:
    it finds the code of those in another way than of a set in a script."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["dark", "bright"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, download):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(6):
            yield i, {"image": np.full((9, 8, 3), 40 * i, np.uint8), "label": int(i > 2)}
