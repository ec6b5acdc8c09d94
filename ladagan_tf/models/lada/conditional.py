"""An unconditional LadaGAN as a conditional one that computes the same."""

import keras

from ladagan_tf.models.checks import check
from ladagan_tf.models.transfer import take_weights


def as_conditional(network: keras.Model, num_classes: int, **how) -> keras.Model:
    """A conditional network with an unconditional one's weights, for whose classes all is the same.

    What reads the class starts at zero, so for every label a generator makes the images, and a
    discriminator gives the logits, of the unconditional network, until it is trained.

    Args:
        network: an unconditional `Generator` or `Discriminator`.
        num_classes: int.
        **how: other arguments of the conditional one: `class_tokens` and `class_names`, or
            `class_head` and `class_dim`.

    Returns:
        Network of the same class.

    Raises:
        ValueError: if it has classes already, or a head without unconditional logits is asked for.
    """
    check(not network.num_classes, f"{network.name} has {network.num_classes} classes already")
    config = {**network.get_config(), "num_classes": num_classes, **how}
    conditional = type(network).from_config(config)
    check(
        not getattr(conditional, "pure", False),
        "class_head='pure': it has no unconditional logits, so it cannot compute the same",
    )
    take_weights(conditional, network)
    return conditional
