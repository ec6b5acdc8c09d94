"""A network that begins with another one's weights, and parts of it that stay as they are."""

import dataclasses
import math

import keras

from ladagan_tf.models.checks import check

# PyTorch's layouts of kernels (OIHW, OI) and Keras's (HWIO, IO): transpositions, by rank.
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
OWN = ("name", "trainable", "dtype", "class_names", "num_classes")  # not what weights mean


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a network took over from another one; names are paths below the network.

    Attributes:
        taken: dict, name -> shape.
        new: dict, name -> (shape here, shape there); None for what is not there.
        left_out: dict, name -> shape: what only the other one has.
        settings: dict, argument -> (value here, value there), where both differ: weights of one
            shape mean something else where the output has another range.
    """

    taken: dict
    new: dict
    left_out: dict
    settings: dict

    @property
    def fits(self):
        """Whether anything but biases and scales was taken: a matrix at least."""
        return any(len(shape) > 1 for shape in self.taken.values())

    @property
    def share(self):
        """Values that were taken, as a share of all that the network has."""
        taken, new = (
            sum(map(math.prod, shapes))
            for shapes in (self.taken.values(), (here for here, _ in self.new.values()))
        )
        return taken / (taken + new)


def take_weights(network, source):
    """Sets each weight that `source` has under the same name and in the same shape.

    So transfers between numbers of classes and resolutions keep all that is neither of classes nor
    of another size (as `copy_params_and_buffers` of StyleGAN2-ADA, arXiv 2006.06676, App. D).

    Args:
        network, source: built keras.Models of one class.

    Returns:
        Transfer.
    """
    theirs = {name_of(weight): weight for weight in source.weights}
    taken, new = {}, {}
    for weight in network.weights:
        name, there = name_of(weight), theirs.pop(name_of(weight), None)
        if there is not None and there.shape == weight.shape:
            weight.assign(there)
            taken[name] = tuple(weight.shape)
        else:
            new[name] = tuple(weight.shape), None if there is None else tuple(there.shape)
    left_out = {name: tuple(weight.shape) for name, weight in theirs.items()}
    here, there = (n.get_config() for n in (network, source))
    settings = {
        name: (value, there[name])
        for name, value in here.items()
        if name not in OWN and name in there and there[name] != value
    }
    return Transfer(taken, new, left_out, settings)


def name_of(weight):
    """A weight's path below its network."""
    return weight.path.partition("/")[2]


def freeze(discriminator, count):
    """Keeps the first blocks of a discriminator from being trained (FreezeD, arXiv 2002.10964).

    Batch norms in them go on normalising by the batch. `discriminator.frozen` tells their names.

    Args:
        discriminator: one with `stages`.
        count: int, how many blocks, counted from the image.

    Raises:
        ValueError: if there are not so many.
    """
    stages = discriminator.stages
    check(
        0 <= count <= len(stages),
        f"freeze_d={count}: give 0 to {len(stages)}, blocks of this discriminator from the image "
        f"on: {', '.join(stages)}",
    )
    chosen = [weight for stage in list(stages.values())[:count] for weight in stage]
    discriminator.frozen = tuple(name_of(weight) for weight in chosen if weight.trainable)
    for weight in chosen:
        weight.trainable = False


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
