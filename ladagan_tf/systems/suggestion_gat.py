"""What to suggest for a GAT, see `suggestion`."""

import math

from ladagan_tf.errors import InputError
from ladagan_tf.systems.suggestion import Line, Network, Tried, as_in

NEEDS = "latents"
TRIED = Tried(
    fewest_images=3_781,  # the emoji
    most_passes=5.3,
    short_kimg=20.0,
    paper_images=50_000,
    paper_sets="it is suggested from 50,000 on, as LadaGAN's; the paper has ImageNet's 1,281,167.",
)
PAPER_KIMG = {"S": 25_600.0, "B": 25_600.0, "L": 25_600.0, "XL": 76_800.0}
BFLOAT16_ON_A_CPU = "A seventh faster on a CPU with such instructions (docs/speed.md)."


def networks(info, machine):
    """The emoji run's tiny networks, and the paper's from S to XL.

    Args:
        info: data.dataset_info.DatasetInfo.
        machine: suggestion.Machine.

    Returns:
        List of `suggestion.Network`s.

    Raises:
        InputError: if it holds no latents.
    """
    if not info.latents:
        raise InputError(
            f"--system=gat: --dataset={info.folder} holds images; encode it, with python -m "
            "ladagan_tf.prepare --latents"
        )
    tokens = _tokens(info.latents.size)
    batch = 64 if machine.gpus else 16
    tiny = Network("the emoji run's tiny network", tokens + _tiny(), 0.0, math.inf, batch)
    return [tiny, *(_paper(size, tokens) for size in PAPER_KIMG)]


def _tokens(side):
    patch = 2 if side % 2 == 0 else 1
    reason = "The paper's." if patch == 2 else f"No larger patch divides {side} latents."
    return [
        Line("system", "gat", "The set holds latents, which a GAT learns."),
        Line("latent_size", str(side), "As the set has."),
        Line("patch", str(patch), f"{reason} {(side // patch) ** 2:,} tokens."),
    ]


def _tiny():
    source = "configs/gat_tiny_emoji.cfg, the only GAT that was trained here."
    return [
        *as_in(source, g_shape="128,8,4", d_shape="128,8,4"),
        *as_in(source, class_dim="256", projector_dim="256", g_lr="4e-4", d_lr="4e-4"),
    ]


def _paper(size, tokens):
    lines = [
        Line("size", size, f"The paper's {size}. Nothing of this size was trained here."),
        *as_in("configs/gat_base.cfg, the paper's.", g_lr="2e-4", d_lr="2e-4", ema_decay="0.999"),
        Line(
            "remat", "true", "As configs/gat_base.cfg: a fraction of the memory, a quarter slower."
        ),
    ]
    words = f"the paper's network {size}"
    return Network(words, tokens + lines, 10_000.0, PAPER_KIMG[size], 512, small=False)


def of_the_set(info, given):
    """Classes and the teacher."""
    classes = max(1, len(info.classes))
    if info.latents.teacher:
        teacher = Line("teacher", "stored", "The set holds its features.")
    else:
        reason = "The paper's is dinov2, whose weights are a download (docs/gat.md); worth trying."
        teacher = Line("teacher", "none", reason)
    return [Line("num_classes", str(classes), "As the set has."), teacher]


def against_repeats(passes):
    """Nothing: a GAT's augmentation is the same for all sets."""
    return []
