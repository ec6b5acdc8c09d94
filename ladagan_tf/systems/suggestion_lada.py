"""What to suggest for a LadaGAN, see `suggestion`."""

import math

from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.sizes import PRESETS, RESOLUTIONS
from ladagan_tf.systems.suggestion import Line, Network, Tried, as_in, learns_classes

NEEDS = "images"
TRIED = Tried(
    fewest_images=1_000,
    most_passes=375,
    short_kimg=28.0,  # the emoji run
    paper_images=50_000,  # of its smallest set, CIFAR-10
    paper_sets="the paper's sets have 50,000 or more.",
)
FEW_IMAGES = 4_000  # up to which bCR was better (docs/studies/data, docs/studies/recipes_emoji)
MANY_PASSES = 50  # from which on D is given cutout; 8 passes were without, 375 with it
PAPER = {32: "cifar10_32", 64: "celeba_64", 128: "ffhq_128", 256: "ffhq_256"}  # presets
BFLOAT16_ON_A_CPU = "Half as fast again on a CPU with such instructions (docs/speed.md)."
SCALE_CUE = Line(
    "d_scale_cue", "true", "In small runs colours drift out of range without it (docs/lada.md)."
)


def networks(info, machine):
    """The quickstart's, the emoji run's and the paper's networks at the set's resolution.

    Args:
        info: data.dataset_info.DatasetInfo.
        machine: suggestion.Machine.

    Returns:
        List of three `suggestion.Network`s.

    Raises:
        InputError: if it holds latents, or LadaGAN does not exist at its resolution.
    """
    if info.latents:
        raise InputError(
            f"--system=lada: --dataset={info.folder} holds latents, for a GAT; leave --system out"
        )
    if info.resolution not in RESOLUTIONS:
        raise InputError(
            f"--dataset: its images have {info.resolution} x {info.resolution} pixels, and LadaGAN "
            f"makes {', '.join(map(str, RESOLUTIONS))}; prepare them again with one of these as "
            "--resolution, or train a GAT on their latents (docs/gat.md)"
        )
    preset = PAPER[info.resolution]
    sizes = Line(
        "preset", preset, f"The paper's sizes at {info.resolution} px, where not replaced."
    )
    batch = 64 if machine.gpus else 16
    quickstart, emoji = _quickstart(info.resolution), _emoji(info.resolution)
    return [
        Network("the quickstart's small network", [sizes, *quickstart], 0.0, math.inf, batch),
        Network(
            "the emoji run's narrow network",
            [sizes, *emoji],
            TRIED.short_kimg,
            math.inf,
            batch,
            falls=True,
        ),
        _paper(info.resolution, sizes),
    ]


def _quickstart(resolution):
    source = "configs/quickstart.cfg" + _tried(32, resolution)
    return [
        Line("noise_dim", "64", f"Small networks for little time: {source}"),
        *as_in(source, g_widths="128,64,32", g_mlp_widths="128,128,64"),
        *_shrunk(resolution, g_decoder_widths=16, d_widths=8),
        *as_in(source, d_out_widths="64,64", d_mlp_width="128", g_modulation="vitgan_sln"),
        Line("g_lr", "8e-4", f"As {source} It was chosen among single runs there."),
        *as_in(source, d_lr="2e-3", r1_weight="3e-3"),
        SCALE_CUE,
    ]


def _emoji(resolution):
    source = "configs/emoji64.cfg" + _tried(64, resolution)
    return [
        Line("g_widths", "256,128,64", f"A fifth of the paper's work per image: {source}"),
        *as_in(source, g_mlp_widths="256,256,256"),
        *_shrunk(resolution, g_decoder_widths=4, d_widths=2),
        *as_in(source, d_out_widths="128,256", d_mlp_width="256", g_modulation="vitgan_sln"),
        *as_in(source, g_lr="5e-4", d_lr="5e-4", r1_weight="1e-3"),
        Line("g_output", "tanh", "It holds the range, whatever D is shown (docs/lada.md)."),
        *as_in(source, policy="color,translation,cutout"),
    ]


def _tried(at, resolution):
    return "." if at == resolution else f", which is for {at} px; untried at {resolution}."


def _shrunk(resolution, **divisors):
    """What depends on the resolution: the paper's widths, divided."""
    preset = PRESETS[PAPER[resolution]]
    paper = {"g_decoder_widths": preset.decoder_widths, "d_widths": preset.discriminator_widths}
    return [
        Line(
            flag,
            ",".join(str(width // by) for width in paper[flag]),
            f"The paper's at {resolution} px, divided by {by}.",
        )
        for flag, by in divisors.items()
        if paper[flag]
    ]


def _paper(resolution, sizes):
    """The paper's network, with its recipe at 128 px for what is as large or larger."""
    large = resolution >= 128
    config = {32: "cifar10", 64: "celeba64"}.get(resolution, "ffhq128")
    recipe = {
        "g_lr": "2e-4",
        "d_lr": "2e-4",
        "r1_weight": "1e-4",
        "policy": "color,translation" + ",cutout" * large,
        "ema_decay": "0.999",
        **({"bcr": "true"} if large else {}),
    }
    reason = f"The paper's, as in configs/{config}.cfg."
    lines = [sizes, *(Line(flag, value, reason) for flag, value in recipe.items())]
    longest = {32: 68_096.0, 64: 72_192.0}.get(resolution, 24_064.0)
    batch = 64 if large else 128
    return Network("the paper's network", lines, 10_000.0, longest, batch, small=False)


def of_the_set(info, given):
    """Balanced consistency, classes and flips."""
    lines = []
    if info.count <= FEW_IMAGES:
        reason = "With 1,000, 2,000 and 3,781 images it lowered the distance (docs/studies)."
        lines.append(Line("bcr", "true", reason))
    if given.get("conditional", str(learns_classes(info))) == "True":
        if len(info.classes) < 2:
            raise InputError(f"--conditional: {info.folder} has {len(info.classes)} classes")
        reason = "With this and the next line the networks learn the classes, without them none. "
        lines += [
            Line("conditional", "true", reason + "On emoji they helped (docs/lada.md)."),
            Line("num_classes", str(len(info.classes)), "As the set has."),
        ]
    reason = "true mirrors images at random: for pictures without a left and a right."
    return [*lines, Line("flip", "false", reason)]


def against_repeats(passes):
    """Augmentation."""
    policy, reason = "translation", "Without color, which would hide the scale that D is shown."
    if passes >= MANY_PASSES:
        policy = "translation,cutout"
        reason = "Many passes: D would learn the images by heart (configs/emoji64_gpu.cfg)."
    return [Line("policy", policy, reason)]
