"""What a set, a machine and some hours suggest: flags of `train` and why.

Every number comes from a run that is documented here (docs/lada.md, docs/gat.md, docs/studies,
docs/speed.md) or from the papers' configurations; where nothing was tried, the reason says so.

`suggestion_lada` and `suggestion_gat` say what this needs to know of a system:

    NEEDS                   str, of what sets it is
    TRIED                   `Tried`, the runs that the numbers come from
    networks(info, machine) list of `Network`, from the smallest on; InputError if it cannot learn
                            the set
    of_the_set(info, given) list of `Line`, what follows from the set
    against_repeats(passes) list of `Line` of a small network, given how often it sees the set
    BFLOAT16_ON_A_CPU       str, the reason for it
"""

import dataclasses
import math
import textwrap

from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError

WIDTH = 100
BUSY = 0.9  # share of the time for steps; grids, measurements and reports take the rest
USABLE = 0.8  # share of the memory for what `cost` estimates
FEWEST_MEASURED = 2  # images that a metric takes
FEWEST_OF_A_CLASS = 100  # on average, to learn classes


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is computed on.

    Attributes:
        words: str, as `devices.in_words` has it.
        gpus: int, how many are seen.
        bfloat16: bool, whether it multiplies bfloat16 numbers fast.
        memory: int, bytes of each device; None if not known.
    """

    words: str
    gpus: int
    bfloat16: bool
    memory: int | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A flag of `train`, its value as text, and the reason in words."""

    flag: str
    value: str
    reason: str

    def __str__(self):
        return f"--{self.flag}={self.value}"


@dataclasses.dataclass(frozen=True)
class Network:
    """A size of both networks with what it was trained with.

    Attributes:
        words: str, which it is.
        lines: list of `Line`.
        least_kimg: float, of fewer thousand images it does not make enough to be chosen.
        most_kimg: float, the longest run.
        batch_size: int.
        small: bool, whether it is one of ours rather than the paper's.
        falls: bool, whether its learning rates fall until the end.
    """

    words: str
    lines: list
    least_kimg: float
    most_kimg: float
    batch_size: int
    small: bool = True
    falls: bool = False


@dataclasses.dataclass(frozen=True)
class Tried:
    """What the runs had that a system's numbers come from.

    Attributes:
        fewest_images: int, of any of ours.
        most_passes: float, of its set by any small network.
        short_kimg: float, the shortest ones that show figures.
        paper_images: int, from which on the paper's networks are suggested.
        paper_sets: str, why.
    """

    fewest_images: int
    most_passes: float
    short_kimg: float
    paper_images: int
    paper_sets: str


def as_in(source, **values):
    """`Line`s of flags, each with the reason that `source` has them so.

    Args:
        source: str, a sentence's end.
        **values: str, by flag.
    """
    return [Line(flag, value, f"As {source}") for flag, value in values.items()]


def suggest(system, info, machine, hours, trial, given=()):
    """Flags of `train` for a set, a machine and a time.

    Networks are tried from the smallest on, until one could not see enough images in the time.

    Args:
        system: module, see above.
        info: data.dataset_info.DatasetInfo.
        machine: Machine.
        hours: float.
        trial: function from a list of str, as "--flag=value", to an object with `multiply_adds`, of
            a training step per image, `memory`, estimated bytes per device by parts of a batch: a
            dict from int to int, and `images_per_s(parts)`, which measures; 0 where memory does not
            suffice.
        given: `Line`s that replace what is suggested.

    Returns:
        (list of str, what was found; list of `Line`).

    Raises:
        InputError: if the system cannot learn the set, or memory does not suffice.
    """
    found = [
        f"{info.count:,} {system.NEEDS} of {info.resolution} x {info.resolution} pixels, "
        + (f"{len(info.classes)} classes" if info.classes else "no classes"),
        machine.words,
    ]
    chosen = None
    networks = system.networks(info, machine)
    sizes = {("size", line.value) for line in given if line.flag == "size"}
    asked = [n for n in networks if sizes & {(line.flag, line.value) for line in n.lines}]
    for network in asked or networks:
        if not asked and not network.small and info.count < system.TRIED.paper_images:
            found.append(f"Not {network.words}: {system.TRIED.paper_sets}")
            break
        lines = _before_speed(system, info, machine, network, given)
        tried = trial([str(line) for line in lines])
        least = f"thousand images in the time, and it is suggested from {network.least_kimg:,g} on."
        if chosen:
            _, _, speed, before, _ = chosen
            expected = _kimg(speed * before.multiply_adds / tried.multiply_adds, hours)
            if 2 * expected < network.least_kimg:  # larger networks are somewhat better than that
                found.append(f"Not {network.words}: by its multiply-adds {expected:,.3g} {least}")
                break
        parts = _parts(tried.memory, machine.memory)
        speed = parts and tried.images_per_s(parts)
        if not speed:
            found.append(f"Not {network.words}: it does not fit into memory.")
            break
        if chosen and _kimg(speed, hours) < network.least_kimg:
            found.append(f"Not {network.words}: measured {_kimg(speed, hours):,.3g} {least}")
            break
        chosen = network, lines, speed, tried, parts
    if not chosen:
        raise InputError("--batch_size: not even the smallest network fits into memory; lower it")
    network, lines, speed, tried, parts = chosen
    found.append(
        f"Chosen, {network.words}: {speed:.4g} images/s in a trial here, and roughly "
        f"{tried.memory[parts] / 1e9:.2g} GB per device."
    )
    found += _warnings(system.TRIED, info, network, _kimg(speed, hours))
    lines = lines + _in_parts(parts, tried.memory, machine)
    lines += _behind_speed(system, info, network, speed, hours, given)
    return found, _replaced(lines, given)


def _kimg(speed, hours):
    """Thousands of images in so many hours."""
    return BUSY * speed * hours * 3.6


def _parts(memory, available):
    """Into how few parts a batch has to be divided; 0 if that does not help."""
    if available is None:
        return min(memory)
    return next((n for n in sorted(memory) if memory[n] <= USABLE * available), 0)


def _in_parts(parts, memory, machine):
    whole = min(memory)
    if parts == whole:
        return []
    reason = (
        f"Roughly {memory[parts] / 1e9:.2g} GB instead of {memory[whole] / 1e9:.2g}, of the "
        f"{machine.memory / 1e9:.3g} GB of a device."
    )
    return [Line("micro_batches", str(parts), reason)]


def _replaced(lines, given):
    by_flag = {line.flag: line for line in given}
    flags = {line.flag for line in lines}
    return [by_flag.get(line.flag, line) for line in lines] + [
        line for line in given if line.flag not in flags
    ]


def _before_speed(system, info, machine, network, given):
    """What a trial needs to know: all but lengths, and what follows from them."""
    lines = [Line("dataset", str(info.folder), "The set."), *network.lines]
    batch, reason = network.batch_size, "The paper's."
    if network.small:
        reason = "As in four minutes of an H100 (docs/lada.md)."
        if not machine.gpus:
            reason = (
                "In little time many steps teach more than large ones (configs/quickstart.cfg)."
            )
    if batch > info.count:
        batch, reason = info.count, "There are no more images."
    if machine.gpus > 1 and batch >= machine.gpus:
        batch -= batch % machine.gpus
        lines.append(Line("strategy", "mirrored", f"{machine.gpus} GPUs share each batch."))
    lines.append(Line("batch_size", str(batch), reason))
    lines += system.of_the_set(info, {line.flag: line.value for line in given})
    if machine.bfloat16:
        reason = system.BFLOAT16_ON_A_CPU
        if machine.gpus:
            reason = "As in every GPU measurement here (docs/speed.md)."
        lines.append(Line("precision", "mixed_bfloat16", reason))
    else:
        lines.append(Line("precision", "float32", "No instructions for bfloat16 were found."))
    return _replaced(lines, given)


def learns_classes(info):
    """Whether a set has enough images of each class, on average, to learn classes."""
    return len(info.classes) > 1 and info.count >= FEWEST_OF_A_CLASS * len(info.classes)


def _behind_speed(system, info, network, speed, hours, given):
    """The length, and what follows from it."""
    kimg = min(_rounded(_kimg(speed, hours)), network.most_kimg)
    passes = 1000 * kimg / info.count
    length = (
        f"{BUSY:.0%} of {hours:g} hours at {plain(speed, 4)} images/s; {plain(passes, 3)} passes."
    )
    if kimg == network.most_kimg:
        length = f"The paper's length, {plain(kimg * 1000 / speed / 3600, 3)} hours at this speed."
    lines = []
    if network.small:
        steady = f"{_rounded(min(max(kimg / 70, 2.0), 20.0)):g}"
        reason = "As 2 in runs of 30 thousand images here, and 20 in one of 1,400."
        said = {line.flag for line in network.lines}
        lines = [line for line in system.against_repeats(passes) if line.flag not in said]
        if "ema_decay" not in {line.flag for line in given}:
            lines.append(Line("ema_halflife_kimg", steady, reason))
    lines.append(Line("total_kimg", plain(kimg), length))
    if network.falls and "schedule" not in {line.flag for line in given}:
        lines.append(Line("schedule", "cosine", "Rates fall, as of the emoji run."))
        lines.append(Line("schedule_kimg", plain(kimg), "Until the end; set it with total_kimg."))
        lines.append(Line("lr_final", "0.1", "To a tenth."))
    for flag, parts, reason in (
        ("log_kimg", 100, "A hundred points of each curve."),
        ("sample_kimg", 20, "Twenty grids."),
        ("checkpoint_kimg", 10, "Ten moments to return to."),
    ):
        lines.append(Line(flag, plain(_rounded(kimg / parts)), reason))
    return lines + _metric(info, kimg)


def _metric(info, kimg):
    """What chooses the checkpoint."""
    # Not above: flags and their help know of this module, without TensorFlow.
    from ladagan_tf.evaluation.classifier import MIN_IMAGES
    from ladagan_tf.evaluation.sliced import has_pyramid
    from ladagan_tf.models.features.classifier import RESOLUTIONS

    if info.count < FEWEST_MEASURED:
        return [Line("metric", "none", "One image is too few to measure against.")]
    if info.latents and not info.latents.images:
        return [Line("metric", "none", "The set has no images to measure against.")]
    if info.preparation.corrupt:
        return [Line("metric", "none", "The set was damaged on purpose: evaluate with another.")]
    features = []
    if len(info.classes) > 1 and info.count >= MIN_IMAGES and info.resolution in RESOLUTIONS:
        metric, reason = "fcd", "By a classifier of the set's own; it chooses the checkpoint."
        features = [Line("features", "classifier", "Trained once, by the first start.")]
    elif has_pyramid(info.resolution):
        metric = "swd"
        reason = "It needs neither classes nor a download. It chooses the checkpoint."
    else:
        return [Line("metric", "none", "None that needs no download takes images of this size.")]
    return [
        *features,
        Line("metric", metric, reason),
        Line("metric_images", str(min(1000, info.count)), "Quick; never a number to publish."),
        Line("metric_kimg", plain(_rounded(max(kimg / 5, 5.0))), "Five measurements, or fewer."),
    ]


def _rounded(value):
    """Two digits, downwards."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.floor(value / step + 1e-9) * step:.2g}")


def _warnings(tried, info, network, kimg):
    """What the numbers do not promise, in words."""
    said, passes = [], 1000 * kimg / info.count
    if network.small and passes > tried.most_passes:
        said.append(
            f"Long: {plain(passes, 3)} passes of the set, where no small network here had more "
            f"than {tried.most_passes:g}. The best checkpoint is kept; stop when its metric no "
            "longer falls."
        )
    if info.count < tried.fewest_images:
        said.append(
            f"Few images: few runs had fewer than {tried.fewest_images:,}. Samples may repeat "
            "them: examples/nearest.py shows."
        )
    if kimg < tried.short_kimg:
        said.append(
            f"Short: {kimg:.3g} thousand images, where the shortest runs that show figures had "
            f"{tried.short_kimg:g}. More hours, a GPU or a lower --resolution would help."
        )
    if len(info.classes) > 1 and not learns_classes(info):
        without = "Few images of a class" if info.latents else "Without classes"
        then = "" if info.latents else " --conditional learns them."
        said.append(f"{without}: fewer than {FEWEST_OF_A_CLASS} images each on average.{then}")
    return said


def as_flagfile(title, found, lines):
    """The text of a flagfile.

    Args:
        title: str.
        found: list of str, what is said first.
        lines: list of `Line`.
    """
    parts = [_comment(title), *map(_comment, found)]
    parts += [f"{_comment(line.reason)}\n{line}" for line in lines]
    return "\n".join(parts) + "\n"


def _comment(text):
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ")
