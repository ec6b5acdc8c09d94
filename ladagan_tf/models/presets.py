"""Trained generators by their name, as KerasHub's models have them: `Generator.from_preset`."""

import os
from typing import Self

import ladagan_tf
from ladagan_tf.errors import InputError


class FromPreset:
    """What a class of generators inherits to be made of a name; beside keras.Model."""

    makes_images = True  # what `call` returns; or else latents
    # Writing a SavedModel, Keras would trace `call` of each model within for an endpoint of its
    # own, which nothing keeps beside those of `exporting.endpoints`.
    _default_save_signature = None

    @classmethod
    def from_preset(
        cls, preset: str | os.PathLike, load_weights: bool = True, dtype: str = "float32"
    ) -> Self:
        """The trained generator of a name.

        `ladagan_tf.load` opens it, and returns what is known of it, too.

        Args:
            preset: str or path: zoo:NAME, hf:USER/REPO, a run, a .keras file, or a folder of
                `ladagan_tf.export`.
            load_weights: bool; False: the same sizes, with new weights.
            dtype: str, Keras dtype policy to compute in.

        Returns:
            A model of this class.

        Raises:
            InputError: if there is no such generator, it is damaged, or of another class.
        """
        # Named by the package, which imports it now: networks themselves know of no files.
        network, _ = ladagan_tf.load(preset, precision=dtype, decode=cls.makes_images)
        if not isinstance(network, cls):
            raise InputError(
                f"preset={preset}: it is a {type(network).__name__}, not a {cls.__name__}; "
                f"{type(network).__name__}.from_preset and ladagan_tf.load take it"
            )
        return network if load_weights else cls.from_config(network.get_config())
