"""Flags that several commands have, defined once, and how command lines are read."""

import itertools
import math
import os.path
import re

from absl import flags

from ladagan_tf import flagfiles, zoo
from ladagan_tf.errors import InputError, one_line
from ladagan_tf.files import is_utf8
from ladagan_tf.models import PRECISIONS
from ladagan_tf.models.flow.samplers import MOST_STEPS, SAMPLERS
from ladagan_tf.runs.snapshots import SHORTEST, UNIFORM
from ladagan_tf.sampling.seeds import MAX_SEED
from ladagan_tf.systems import group, listed

OPENED_BY_TENSORFLOW = {"run_dir", "runs", "runs_dir", "dataset", "init_from"}  # runs and sets
MOST_AT_ONCE = 2**16  # images computed at once, for which memory is taken before there are any
MOST_KIMG = 1e9  # of a run: beyond it lies a typing error, and a bar without an end
MOST_FOLDERS = 250  # of a path: Python makes and deletes them by recursion
MAY_BE_EMPTY = {"policy"}  # texts whose lack means something that is not their default


def define_learned_set(what):
    """Of commands that train a small network of one prepared set; `what`: which, for the help."""
    flags.DEFINE_string(
        "dataset",
        None,
        f"{what} to learn: a folder made by ladagan_tf.prepare, tfds:NAME[@SPLIT], or shapes. "
        "Required.",
        required=True,
    )
    flags.DEFINE_integer(
        "resolution", None, "Side in pixels; the prepared folder's by default, else required."
    )
    define_data_dir()


def define_data_dir():
    """Of commands that open a set that may be one of TFDS."""
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )


@group("Features and caches")
def define_measuring():
    """Of measuring: `evaluate.py` and `train.py`."""
    flags.DEFINE_string(
        "features",
        "auto",
        "Feature network: inception, classifier:FILE.keras, classifier:zoo:NAME (that of a model "
        "of the zoo), classifier (that of the prepared set, trained once), dinov2 (ViT-L/14; needs "
        "keras-hub) or dinov2:PRESET, a name or folder of KerasHub, none; auto: that of the model "
        "for --dataset=zoo:NAME, else what the metrics are defined with, else classifier for "
        "--dataset=shapes, inception for other sets.",
    )
    flags.DEFINE_string(
        "inception_weights",
        None,
        "File of Inception-2015 weights: the public .pth, the frozen .pb, .safetensors or .npz; by "
        "default the cached one, else it is downloaded.",
    )
    flags.DEFINE_string(
        "cache_dir",
        None,
        "Folder of downloaded weights and of reference statistics; ~/.cache/ladagan_tf by default.",
    )


def define_model(words):
    """Of commands that open a generator; `words` say what for, for the help."""
    flags.DEFINE_string(
        "model",
        None,
        f"{words} A .keras file, a SavedModel folder, a folder of ladagan_tf.export, hf:USER/REPO "
        "on the Hugging Face hub, or zoo:NAME of those that come with the package, which zoo: "
        "alone lists.",
    )
    flags.register_validator("model", is_known)


def is_known(model):
    """Whether a flag names no model that the zoo lacks, which is refused before heavy imports."""
    if model and model.startswith(zoo.PREFIX) and model != zoo.PREFIX:
        try:
            zoo.find(model)
        except InputError as error:
            raise flags.ValidationError(str(error).partition(": ")[2]) from None
    return True


def asks_for_the_zoo(argv):
    """Whether a command line has `--model=zoo:`, which asks for a list.

    Args:
        argv: list of str, the program's name first.
    """
    words = [word.lstrip("-") for word in argv]
    return f"model={zoo.PREFIX}" in words or ("model", zoo.PREFIX) in itertools.pairwise(words)


@group("Generator")
def define_generator(what):
    """Defines the flags of a verb that opens a run or a model to do `what` with it."""
    flags.DEFINE_string("run_dir", None, f"Run to {what}. Give this or --model.")
    define_model(f"Generator to {what}.")
    define_checkpoint()
    define_vae()


def open_generator(**other):
    """The generator of --run_dir or --model as the flags say: a `sampling.sampler.Sampler`.

    Args:
        other: arguments of `sampling.opening.open_source` that are not as their flags.

    Raises:
        InputError: see `sampling.opening.open_source`.
    """
    from ladagan_tf.sampling.opening import open_source  # needs Keras

    values = flags.FLAGS
    given = {name: values[name].value for name in open_source.__kwdefaults__ if name in values}
    return open_source(values.run_dir, values.model, **{**given, **other})


def open_dataset():
    """The folder of the prepared set that --dataset, --resolution and --data_dir name."""
    from ladagan_tf.data import pipeline  # needs TensorFlow

    values = flags.FLAGS
    return pipeline.open_dataset(
        values.dataset, resolution=values.resolution, data_dir=values.data_dir
    )


def open_metric(folder, dataset):
    """The `evaluation.quick.QuickMetric` of --metric.

    Args:
        folder: the prepared set that it compares with.
        dataset: str, what named it.
    """
    from ladagan_tf.evaluation import quick  # needs Keras

    values = flags.FLAGS
    return quick.open_metric(
        values.metric,
        values.metric_images,
        folder,
        dataset,
        features=values.features,
        inception_path=values.inception_weights,
        cache_dir=values.cache_dir,
    )


def define_address(port):
    """Of commands that serve: where; `port` is the default."""
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
    flags.DEFINE_integer(
        "port", port, "TCP port; 0: a free one, printed.", lower_bound=0, upper_bound=65535
    )


def define_checkpoint(kinds="latest, or the kimg of one", ema=True):
    """Of commands that open a generator of a run: which of its weights.

    Args:
        kinds: str, what --checkpoint takes beside the best, for the help.
        ema: bool, also --ema.
    """
    flags.DEFINE_string(
        "checkpoint", "best", f"Of --run_dir: best (the latest if none was scored), {kinds}."
    )
    if ema:
        flags.DEFINE_boolean("ema", True, "Of --run_dir: the averaged weights.")
    flags.DEFINE_string(
        "average",
        None,
        "Of --run_dir: one of the averages that its training kept, by its name: a decay as 0.9999, "
        "a half-life as 500kimg, or sigma_rel:0.05; by default that of --ema_decay or "
        "--ema_halflife_kimg.",
    )


def sigma_rels(name):
    """The lengths of averages, see `sampling.posthoc`, that a list flag names: distinct floats."""
    words = f"numbers from {SHORTEST} to below {UNIFORM:.4f} (all times alike), as 0.05,0.1"
    found = listed(name, float, words, lambda length: SHORTEST <= length < UNIFORM, some=True)
    return list(dict.fromkeys(found))


@group("Truncation and guidance")
def define_truncation():
    """Of commands that sample."""
    flags.DEFINE_float(
        "truncation_z",
        None,
        "Draw components of a latent that are beyond [-X, X] again, from the image's own seed, as "
        "BigGAN does: more typical images, of less variety. Of any model.",
    )
    flags.DEFINE_float(
        "psi",
        1.0,
        "GAT, and LadaGAN with --g_modulation=vitgan_sln: truncation, from 1 (none) to 0 (each "
        "class's mean style). GAT's authors count the other way: their 0.3 is 0.7 here.",
    )
    flags.DEFINE_float(
        "guidance",
        1.0,
        "GAT: distance from the mean style over all classes, as a factor; 1: none.",
    )


@group("Sampler")
def define_sampler():
    """Of commands that sample, or keep what does."""
    flags.DEFINE_enum(
        "sampler",
        None,
        list(SAMPLERS),
        "Flow: euler, with one evaluation of the network in a step, heun, with two, or heun_euler, "
        "whose last step is euler's; as in its training by default.",
    )
    flags.DEFINE_integer(
        "sampler_steps",
        None,
        "Flow: steps from noise to an image; as in its training by default.",
        lower_bound=1,
        upper_bound=MOST_STEPS,
    )


def define_computing(compiled, computed):
    """Of commands that train or measure: with what; the help of --jit and of --precision."""
    flags.DEFINE_integer(
        "virtual_cpus",
        1,
        "Split the CPU into this many devices, to try --strategy=mirrored.",
        lower_bound=1,
        upper_bound=1024,
    )
    flags.DEFINE_enum("jit", "auto", ["auto", "on", "off"], compiled)
    flags.DEFINE_enum("precision", PRECISIONS[0], list(PRECISIONS), computed)


def refuse_starts():
    """Raises InputError for flags of a start, of commands that take train's flags to keep them."""
    for name in ("dry_run", "force", "measure_seconds"):
        if flags.FLAGS[name].present:
            raise InputError(f"--{name}: it is for train, behind the --flagfile that this makes")


def define_seed(words):
    """Of everything random; `words` say of what, for the help."""
    flags.DEFINE_integer("seed", 0, words, lower_bound=0, upper_bound=MAX_SEED)


def define_vae(runs=True):
    """Of commands that open a generator; `runs`: also of a run."""
    of_run = "; or of a run, instead of its own: one with the same encoder" if runs else ""
    flags.DEFINE_string(
        "vae",
        None,
        "Autoencoder that decodes the latents of a --model without one, a GAT of "
        f"ladagan_tf.convert{of_run}. sd15, sd-mse, sd-ema or a file.",
    )


def read_flags(argv):
    """Sets the flags from a command line.

    Args:
        argv: list of str, the program's name first.

    Returns:
        List of str, what is no flag, the program's name first.

    Raises:
        InputError: for what is no flag, a value that a flag does not take, or an unreadable file.
    """
    given = [f"--{name}={value}" for _, name, value, _ in flagfiles.given(argv) if name == "config"]
    if given and "config" not in flags.FLAGS:
        raise InputError(f"{given[0]}: there is no such flag here; it is for train and convert")
    try:
        rest = flags.FLAGS(flagfiles.expanded(argv))
        _expand_homes()
        _check_values()
        return rest
    except flags.UnrecognizedFlagError as error:
        similar = re.search(r"Did you mean: (.+?) \?", str(error))
        hint = f"did you mean {_dashed(similar[1])}?" if similar else "--help lists all flags"
        raise InputError(f"--{error.flagname}: there is no such flag; {hint}") from None
    except InputError:
        raise
    except (flags.Error, ValueError) as error:  # a ValueError: of --noNAME=VALUE
        raise InputError(_in_words(one_line(str(error)).removeprefix("flag "))) from None


def _in_words(said):
    """What absl says of a flag, where it says it in words for programmers: text."""
    name = re.match(r"--(\w+)=", said)
    if name and said.endswith("must have a value other than None."):
        return f"--{name[1]} is required: {_sentence(flags.FLAGS[name[1]].help)}"
    said = re.sub(r"(?<=: )\S+ is not (?=number)", "give a ", said)
    said = re.sub(r"(?<=: )\S+ is not (?=an? )", "give ", said)
    said = re.sub(r"(?<=: )\('Non-boolean argument.*", "give true or false", said)
    said = re.sub(r"(?<=: )invalid literal for int\(\).*", "give a whole number, as 16", said)
    return re.sub(r"(?<=: )could not convert string to float.*", "give a number, as 0.5", said)


def _sentence(text):
    return re.match(r".+?[.:;](?= |$)|.*", text, re.DOTALL)[0].rstrip(".:;")


def _check_values():
    """What passes for text in a flagfile, and for a number within any bounds, but is none."""
    for name in flags.FLAGS:
        values = flags.FLAGS[name].value
        if values == "" != flags.FLAGS[name].default and name not in MAY_BE_EMPTY:
            raise InputError(f"--{name}=: it is empty; give a value, or leave the flag out")
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and "\0" in value:
                raise InputError(f"--{name}={one_line(value)}: it holds a NUL character")
            if isinstance(value, str) and value.splitlines() not in ([], [value]):
                # A run's flags.cfg has a line for each flag.
                raise InputError(f"--{name}={one_line(value)}: it holds a line break")
            if isinstance(value, str) and value.count("/") > MOST_FOLDERS:
                raise InputError(
                    f"--{name}={one_line(value)}: a path of {value.count('/'):,} folders; at most "
                    f"{MOST_FOLDERS} are accepted"
                )
            if name in OPENED_BY_TENSORFLOW and not is_utf8(value or ""):
                raise InputError(f"--{name}={one_line(value)}: such a name must be UTF-8")
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"--{name}={value}: it must be a finite number")
            if isinstance(value, int) and abs(value) > MAX_SEED:
                raise InputError(f"--{name}={value}: it must be below 2^63")


def _expand_homes():
    for name in flags.FLAGS:
        flags.FLAGS[name].value = with_home(name, flags.FLAGS[name].value)


def with_home(name, value):
    """A flag's value with the home folder for `~` where its path begins.

    Shells do that for `--out ~/a`, but not for `--out=~/a` or `--features=classifier:~/a`.

    Args:
        name: of the flag.
        value: of any type.

    Raises:
        InputError: if there is no such user.
    """
    begins = isinstance(value, str) and re.match(r"(\w+:)?(~[^/]*)", value)
    if not begins:
        return value
    kind, home = begins[1] or "", begins[2]
    found = os.path.expanduser(home)
    if found == home:
        raise InputError(f"--{name}={value}: {home} is nobody's home folder; give a path")
    return f"{kind}{found}{value[begins.end() :]}"


def _dashed(names):
    return " or ".join(f"--{name}" for name in re.split(r", or |, | or ", names))
