"""What a set, a machine and some hours suggest for a LadaGAN: flags of `train` and why.

Every number comes from a run that is documented here (docs/lada.md, docs/studies, docs/speed.md) or
from the paper's configurations; where nothing was tried, the reason says so.
"""

import dataclasses
import math
import textwrap

from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.sizes import PRESETS, RESOLUTIONS

WIDTH = 100
BUSY = 0.9  # share of the time for steps; grids, measurements and reports take the rest
FEW_IMAGES = 2_000  # up to which bCR was better in all seeds (docs/studies, "Little data")
FEWEST_IMAGES = 1_000  # of any run here
MOST_PASSES = 375  # of any run of a small network here
FEWEST_OF_A_CLASS = 100  # on average, to learn classes
MANY_PASSES = 50  # from which on D is given cutout; 8 passes were without, 375 with it
SHORT_KIMG = 30.0  # the shortest runs that show figures: the quickstart, the emoji run
PAPER_IMAGES = 50_000  # of the smallest set of the paper, CIFAR-10
PAPER = {32: "cifar10_32", 64: "celeba_64", 128: "ffhq_128", 256: "ffhq_256"}  # presets


@dataclasses.dataclass(frozen=True)
class Machine:
    """What is computed on.

    Attributes:
        words: str, as `devices.in_words` has it.
        gpus: int, how many are seen.
        bfloat16: bool, whether it multiplies bfloat16 numbers fast.
    """

    words: str
    gpus: int
    bfloat16: bool


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
    """

    words: str
    lines: list
    least_kimg: float
    most_kimg: float
    batch_size: int
    small: bool = True


def networks(resolution, gpus=0):
    """The sizes to choose from at a resolution.

    Args:
        resolution: int, side of the images in pixels.
        gpus: int, how many there are.

    Returns:
        List of three `Network`s: the quickstart's, the emoji run's, the paper's.

    Raises:
        InputError: if LadaGAN does not exist at this resolution.
    """
    if resolution not in RESOLUTIONS:
        raise InputError(
            f"--dataset: its images have {resolution} x {resolution} pixels, and LadaGAN makes "
            f"{', '.join(map(str, RESOLUTIONS))}; prepare them again with one of these as "
            "--resolution, or train a GAT on their latents (docs/gat.md)"
        )
    batch = 64 if gpus else 16
    return [
        Network("the quickstart's small network", _quickstart(resolution), 0.0, math.inf, batch),
        Network("the emoji run's narrow network", _emoji(resolution), SHORT_KIMG, math.inf, batch),
        _paper(resolution),
    ]


def _quickstart(resolution):
    source = "configs/quickstart.cfg" + _tried(32, resolution)
    return [
        Line("noise_dim", "64", f"Small networks for little time: {source}"),
        Line("g_widths", "128,64,32", f"As {source}"),
        Line("g_mlp_widths", "128,128,64", f"As {source}"),
        *_shrunk(resolution, decoder=16, discriminator=8),
        Line("d_out_widths", "64,64", f"As {source}"),
        Line("d_mlp_width", "128", f"As {source}"),
        Line("g_lr", "8e-4", f"As {source} It was chosen among single runs there."),
        Line("d_lr", "2e-3", f"As {source}"),
        Line("r1_weight", "3e-3", f"As {source}"),
        _SCALE_CUE,
    ]


def _emoji(resolution):
    source = "configs/emoji64.cfg" + _tried(64, resolution)
    return [
        Line("g_widths", "256,128,64", f"A fifth of the paper's work per image: {source}"),
        Line("g_mlp_widths", "256,256,256", f"As {source}"),
        *_shrunk(resolution, decoder=4, discriminator=2),
        Line("d_out_widths", "128,256", f"As {source}"),
        Line("d_mlp_width", "256", f"As {source}"),
        Line("g_lr", "5e-4", f"As {source}"),
        Line("d_lr", "5e-4", f"As {source}"),
        Line("r1_weight", "1e-3", f"As {source}"),
        _SCALE_CUE,
    ]


_SCALE_CUE = Line(
    "d_scale_cue", "true", "In small runs colours drift out of range without it (docs/lada.md)."
)


def _tried(at, resolution):
    return "." if at == resolution else f", which is for {at} px; untried at {resolution}."


def _shrunk(resolution, decoder, discriminator):
    """What depends on the resolution: the paper's widths, divided."""
    preset, lines = PRESETS[PAPER[resolution]], []
    for flag, widths, by in (
        ("g_decoder_widths", preset.decoder_widths, decoder),
        ("d_widths", preset.discriminator_widths, discriminator),
    ):
        if widths:
            value = ",".join(str(width // by) for width in widths)
            lines.append(Line(flag, value, f"The paper's at {resolution} px, divided by {by}."))
    return lines


def _paper(resolution):
    """The paper's network, with its recipe at 128 px for what is as large or larger."""
    large = resolution >= 128
    config = {32: "cifar10", 64: "celeba64"}.get(resolution, "ffhq128")
    as_there = f"The paper's, as in configs/{config}.cfg."
    lines = [
        Line("g_lr", "2e-4", as_there),
        Line("d_lr", "2e-4", as_there),
        Line("r1_weight", "1e-4", as_there),
        Line("policy", "color,translation" + ",cutout" * large, as_there),
        Line("ema_decay", "0.999", as_there),
    ]
    if large:
        lines.append(Line("bcr", "true", as_there))
    longest = {32: 68_096.0, 64: 72_192.0}.get(resolution, 24_064.0)
    batch = 64 if large else 128
    return Network("the paper's network", lines, 10_000.0, longest, batch, small=False)


def suggest(info, machine, hours, trial, given=()):
    """Flags of `train` for a set, a machine and a time.

    Networks are tried from the smallest on, until one could not see enough images in the time.

    Args:
        info: data.dataset_info.DatasetInfo, of images.
        machine: Machine.
        hours: float.
        trial: function from a list of str, as "--flag=value", to an object with `multiply_adds`, of
            a training step per image, and `images_per_s()`, which measures; 0 where memory does not
            suffice.
        given: `Line`s that replace what is suggested.

    Returns:
        (list of str, what was found; list of `Line`).

    Raises:
        InputError: if LadaGAN cannot learn the set.
    """
    if info.latents:
        raise InputError(
            f"--dataset={info.folder}: it holds latents, for a GAT, of which too little was "
            "trained here to suggest anything; give a set of images, or begin with "
            "configs/gat_tiny_emoji.cfg"
        )
    found = [
        f"{info.count:,} images of {info.resolution} x {info.resolution} pixels, "
        + (f"{len(info.classes)} classes" if info.classes else "no classes"),
        machine.words,
    ]
    chosen = None
    for network in networks(info.resolution, machine.gpus):
        if not network.small and info.count < PAPER_IMAGES:
            found.append(f"Not {network.words}: the paper's sets have {PAPER_IMAGES:,} or more.")
            break
        lines = _before_speed(info, machine, network, given)
        tried = trial([str(line) for line in lines])
        least = f"thousand images in the time, and it is suggested from {network.least_kimg:,g} on."
        if chosen:
            _, _, speed, multiply_adds = chosen
            expected = _kimg(speed * multiply_adds / tried.multiply_adds, hours)
            if 2 * expected < network.least_kimg:  # larger networks are somewhat better than that
                found.append(f"Not {network.words}: by its multiply-adds {expected:,.3g} {least}")
                break
        speed = tried.images_per_s()
        if not speed:
            found.append(f"Not {network.words}: it does not fit into memory.")
            break
        if chosen and _kimg(speed, hours) < network.least_kimg:
            found.append(f"Not {network.words}: measured {_kimg(speed, hours):,.3g} {least}")
            break
        chosen = network, lines, speed, tried.multiply_adds
    if not chosen:
        raise InputError("--batch_size: not even the smallest network fits into memory; lower it")
    network, lines, speed, _ = chosen
    found.append(f"Chosen, {network.words}: {speed:.4g} images/s in a trial here.")
    found += _warnings(info, network, _kimg(speed, hours))
    return found, _replaced(lines + _behind_speed(info, network, speed, hours), given)


def _kimg(speed, hours):
    """Thousands of images in so many hours."""
    return BUSY * speed * hours * 3.6


def _replaced(lines, given):
    by_flag = {line.flag: line for line in given}
    flags = {line.flag for line in lines}
    return [by_flag.get(line.flag, line) for line in lines] + [
        line for line in given if line.flag not in flags
    ]


def _before_speed(info, machine, network, given):
    """What a trial needs to know: all but lengths, and what follows from them."""
    preset = PAPER[info.resolution]
    lines = [
        Line("dataset", str(info.folder), "The set."),
        Line("preset", preset, f"The paper's sizes at {info.resolution} px, where not replaced."),
        *network.lines,
    ]
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
    if info.count <= FEW_IMAGES and all(line.flag != "bcr" for line in lines):
        reason = "With 1,000 and 2,000 images it lowered the distance in all seeds (docs/studies)."
        lines.append(Line("bcr", "true", reason))
    asked = {line.flag: line.value == "True" for line in given}
    if asked.get("conditional", _learns_classes(info)):
        reason = "With this and the next line the networks learn the classes, without them none. "
        lines += [
            Line("conditional", "true", reason + "On emoji they helped (docs/lada.md)."),
            Line("num_classes", str(len(info.classes)), "As the set has."),
        ]
    lines.append(
        Line(
            "flip",
            "false",
            "true mirrors images at random: for pictures without a left and a right.",
        )
    )
    if machine.bfloat16:
        reason = "Half as fast again on a CPU with such instructions (docs/speed.md)."
        if machine.gpus:
            reason = "As in every GPU measurement here (docs/speed.md)."
        lines.append(Line("precision", "mixed_bfloat16", reason))
    else:
        lines.append(Line("precision", "float32", "No instructions for bfloat16 were found."))
    return _replaced(lines, given)


def _learns_classes(info):
    return len(info.classes) > 1 and info.count >= FEWEST_OF_A_CLASS * len(info.classes)


def _behind_speed(info, network, speed, hours):
    """The length, and what follows from it."""
    kimg = min(_rounded(_kimg(speed, hours)), network.most_kimg)
    passes = 1000 * kimg / info.count
    length = f"{BUSY:.0%} of {hours:g} hours at {speed:.4g} images/s; {passes:,.3g} passes."
    if kimg == network.most_kimg:
        length = f"The paper's length, {kimg * 1000 / speed / 3600:.3g} hours at this speed."
    lines = []
    if network.small:
        steady = _rounded(min(max(kimg / 70, 2.0), 20.0))
        reason = "Without color, which would hide the scale that D is shown."
        policy = "translation"
        if passes >= MANY_PASSES:
            policy = "translation,cutout"
            reason = "Many passes: D would learn the images by heart (configs/emoji64_gpu.cfg)."
        lines = [
            Line("policy", policy, reason),
            Line(
                "ema_halflife_kimg",
                f"{steady:g}",
                "As 2 in runs of 30 thousand images here, and 20 in one of 1,400.",
            ),
        ]
    lines.append(Line("total_kimg", f"{kimg:g}", length))
    for flag, parts, reason in (
        ("log_kimg", 100, "A hundred points of each curve."),
        ("sample_kimg", 20, "Twenty grids."),
        ("checkpoint_kimg", 10, "Ten moments to return to."),
    ):
        lines.append(Line(flag, f"{_rounded(kimg / parts):g}", reason))
    metric, reason = "swd", "It needs neither classes nor a download. It chooses the checkpoint."
    if len(info.classes) > 1 and info.count >= 100:
        metric, reason = "fcd", "By a classifier of the set's own; it chooses the checkpoint."
        lines.append(Line("features", "classifier", "Trained once, by the first start."))
    lines += [
        Line("metric", metric, reason),
        Line("metric_images", str(min(1000, info.count)), "Quick; never a number to publish."),
        Line("metric_kimg", f"{_rounded(max(kimg / 5, 5.0)):g}", "Five measurements, or fewer."),
    ]
    return lines


def _rounded(value):
    """Two digits, downwards."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.floor(value / step + 1e-9) * step:.2g}")


def _warnings(info, network, kimg):
    """What the numbers do not promise, in words."""
    said, passes = [], 1000 * kimg / info.count
    if network.small and passes > MOST_PASSES:
        said.append(
            f"Long: {passes:,.3g} passes of the set, where no small network here had more than "
            f"{MOST_PASSES}. The best checkpoint is kept; stop when its metric no longer falls."
        )
    if info.count < FEWEST_IMAGES:
        said.append(
            f"Few images: no run here had fewer than {FEWEST_IMAGES:,}. Samples may repeat them: "
            "examples/nearest.py shows."
        )
    if kimg < SHORT_KIMG:
        said.append(
            f"Short: {kimg:.3g} thousand images, where the shortest runs that show figures had "
            f"{SHORT_KIMG:g}. More hours, a GPU or a lower --resolution would help."
        )
    if len(info.classes) > 1 and not _learns_classes(info):
        said.append(
            f"Without classes: fewer than {FEWEST_OF_A_CLASS} images each on average. "
            "--conditional learns them."
        )
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
