"""What `--system` can be, a module each: the flags of a paper and what they describe.

A system's module has

    DEFAULTS         dict, flag -> what it is here unless given, of flags that several systems have
    WITHOUT          set of flags that all systems have but some: those that this one has not
    UNCONFIRMED      set of flags whose values here are no source's that one can rely on
    define()         defines the flags of this system, or declares those of another that it has, too
    implied()        dict, flag -> what other flags (a preset, a size) say of it
    check_set(info)  InputError unless a `data.dataset_info.DatasetInfo` is a set that it can learn
    build(folder)    ({"generator": a network, ..., as the trainer's phases}, averaged generator,
                     objective) as the flags say, for the prepared set `folder`; None describes a
                     run without its set
    trainer()        (the `training.model.TrainedModel` that trains them, dict of what flags say to
                     its `compile` alone)
    learning_rate(base, network)     a network's rate, from what its flag says
    step_cost(**networks, **step)    multiply-adds of a training step per image, and estimated bytes
                     of one, per device and of a process that trains on the CPU: ints
    cost_report(**networks, **step)  what a step costs, as text
    autoencoder(folder, own)         what decodes G's output; None for images

`flags.train.SYSTEMS` lists them: another system is one file here and one line there.
"""

import contextlib
import math
import os.path
import re

from absl import flags

from ladagan_tf.data import dataset_info, imagenet
from ladagan_tf.errors import InputError

FLAGS = flags.FLAGS
# Of the flags that `flags.train` defines for all systems those that speak of a discriminator.
OF_GANS = frozenset({
    "d_lr", "r1_weight", "r2_weight", "penalty_share", "penalty_final", "augment_p",
    "augment_ramp", "augment_target", "augment_kimg", "freeze_d", "augment_pairs",
    "centring_weight",
})  # fmt: skip


@contextlib.contextmanager
def group(title):
    """Has `--help` show the flags that the block, or the function it decorates, defines together.

    Args:
        title: str, of the group.
    """
    before = set(FLAGS)
    yield
    for name in set(FLAGS) - before:
        vars(FLAGS[name]).setdefault("group", title)  # an inner group counts more


def listed(name, kind, words, inside=lambda value: True, some=False, distinct=False):
    """What a list flag gives: a tuple of values of a `kind`, finite if they are numbers.

    Args:
        name: str, of the flag.
        kind: int, float or str.
        words: str, what is accepted, for messages.
        inside: function from a value to whether it is accepted.
        some: bool, there must be one at least.
        distinct: bool, none may come twice.

    Raises:
        InputError: for anything else.
    """
    given = FLAGS[name].value
    try:
        found = tuple(map(kind, given))
    except ValueError:
        found = (math.nan,)
    usable = all(value not in (math.inf, -math.inf) and value == value for value in found)
    if not usable or not all(map(inside, found)) or (some and not found):
        raise InputError(f"--{name}={','.join(map(str, given))}: give {words}")
    if distinct and len(set(found)) < len(found):
        raise InputError(f"--{name}={','.join(map(str, given))}: give each of them once")
    return found


def integers(name):
    """The integers of a list flag."""
    return listed(name, int, "integers, as 4,8")


def refuse(names, why):
    """Raises InputError if a flag has another value than its default, which would have no effect.

    Args:
        names: iterable of str, such flags.
        why: str, in words.
    """
    for name in names:
        value = FLAGS[name].value
        if value != FLAGS[name].default:
            text = ",".join(value) if isinstance(value, list) else value
            given = f"no{name}" if value is False else name if value is True else f"{name}={text}"
            raise InputError(f"--{given}: {why}")


def refuse_without(name, there, needed):
    """Raises InputError as `refuse` unless what a flag needs is there, `needed` in words."""
    if not there:
        refuse([name], f"it needs {needed}")


def average_of(kind, **sizes):
    """A generator of a class and sizes for the average; it is given the trained one's weights.

    So none are drawn at random, which takes seconds at the papers' sizes.
    """
    # Here, because flags are parsed before Keras is imported.
    from ladagan_tf.models.blank import blank_of

    with blank_of(math.inf):
        return kind(**sizes, name="averaged_generator")


def arguments(names):
    """What flags say, by another name: a dict.

    Args:
        names: dict from the argument of a network to its flag; those of lists are lists of ints.
    """
    return {
        argument: integers(flag)
        if isinstance(FLAGS[flag].value, list | tuple)
        else FLAGS[flag].value
        for argument, flag in names.items()
    }


@contextlib.contextmanager
def named_as_flags(names=()):
    """Has a ValueError of the block name flags, as --flag=value, where it names arguments.

    Args:
        names: dict from an argument to its flag, where the two differ. A flag that several
            arguments are of is said before the message instead.

    Raises:
        InputError: instead of that ValueError.
    """
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        raise InputError(_with_flags(str(error), dict(names))) from None


def _with_flags(message, names):
    of_several = {flag for flag in names.values() if list(names.values()).count(flag) > 1}
    whole = {}

    def as_flag(match):
        name = names.get(match[1], match[1])
        if name in of_several:
            whole[f"--{name}={','.join(map(str, FLAGS[name].value))}: "] = True
        if name in of_several or name not in FLAGS:
            return match[0]
        return f"--{name}=" + re.sub(r"[][' ]", "", match[2])

    message = re.sub(r"(?<![\w-])(\w+)=(\[[^]]*\]|'[^']*'|)", as_flag, message)
    return "".join(whole) + message


def penalty_every():
    """One of how many images --penalty_share takes penalties at: an int; 1 if there are none."""
    share = 1.0 if FLAGS.penalty_share is None else FLAGS.penalty_share
    every = round(1 / share) if 0 < share <= 1 else 0
    if not every or abs(every * share - 1) > 0.011:  # 0.33 is a third
        raise InputError(f"--penalty_share={share:g}: give 1, 1/2, 1/3 ... as 1, 0.5, 0.33")
    return every


def augments_sometimes():
    """Whether the flags ask for another probability of augmentation than 1."""
    return FLAGS.augment_p != 1 or FLAGS.augment_ramp or FLAGS.augment_target > 0


def check_found(info, **found):
    """Raises InputError unless flags are what a prepared set `info` is found to have."""
    for name, value in found.items():
        if FLAGS[name].value != value:
            raise InputError(
                f"--{name}={FLAGS[name].value}: --dataset={info.folder} has {name}={value}"
            )


def adversarial():
    """`trainer` of the systems that have a generator and a discriminator."""
    # Here, because flags are parsed before TensorFlow and Keras are imported.
    from ladagan_tf.training.adversarial import AdversarialModel

    return AdversarialModel, {
        "augment_target": FLAGS.augment_target,
        "augment_kimg": FLAGS.augment_kimg,
    }


def check_classes(info):
    """Raises InputError unless a prepared set `info` has the classes that flags ask for, if any."""
    if FLAGS.conditional and not info.classes:
        raise InputError(f"--conditional: the images of --dataset={info.folder} have no classes")
    if FLAGS.conditional:
        dataset_info.require_labels(info, "--conditional")
    if FLAGS.num_classes is not None:
        check_found(info, num_classes=len(info.classes))


def num_classes(folder):
    """How many classes the networks learn with --conditional; 0 without.

    Args:
        folder: a prepared set; None, of a run that is only described: as many as --num_classes
            says, or the set that --dataset names has, if it is there.
    """
    if not FLAGS.conditional:
        return 0
    if folder:
        return len(class_names(folder))
    if FLAGS.num_classes is not None:
        return FLAGS.num_classes
    info = set_at_hand()
    if info is None:
        raise InputError("--conditional: without the set at hand --num_classes must be given")
    check_classes(info)
    return len(info.classes)


def set_at_hand():
    """`DatasetInfo` of the prepared set that --dataset names; None if it is not there."""
    # Here, because flags are parsed before TensorFlow is imported.
    from ladagan_tf.data.pipeline import prepared_folder

    with contextlib.suppress(InputError, OSError):
        folder = prepared_folder(os.path.expanduser(FLAGS.dataset), FLAGS.resolution)
        return dataset_info.load_info(folder)
    return None


def class_names(folder):
    """Names of the classes of a prepared set, a tuple of text; none without it."""
    if not folder:
        return ()
    return imagenet.in_words(dataset_info.load_info(folder).classes)
