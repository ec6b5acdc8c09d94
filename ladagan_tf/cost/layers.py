"""Closed forms of what LadaGAN's layers cost: multiply-adds, and numbers kept for derivatives.

N tokens of width D in H heads; see `cost.lada` for what is counted.
"""


def attention_multiply_adds(kind, tokens, width, heads, *, score, rank, window):
    """Multiply-adds of an attention layer for one image.

    Args:
        kind: one of `models.attention.ATTENTIONS`.
        tokens, width, heads: ints, N, D and H; N is the square of a side.
        score: of "additive".
        rank: int, r of "linformer".
        window: int, w of "swin" and "swin_pair".

    Returns:
        int.
    """
    seen = min(window**2, tokens)  # tokens that a window's query sees
    swin = 4 * width**2 + 2 * seen * width
    per_token = {
        "additive": 4 * width**2 + (width * heads if score == "full" else width),
        "fastformer": 3 * width**2 + 2 * width * heads,
        "linformer": 4 * width**2 + 4 * rank * width,
        "swin": swin,
        "swin_pair": 2 * swin,
        "dot_product": 4 * width**2 + 2 * tokens * width,
    }
    return tokens * per_token[kind]


def attention_activations(kind, tokens, width, heads, *, rank, window):
    """Numbers of an attention layer that one image keeps: q, k, v, their product, and the maps.

    Args:
        kind, tokens, width, heads, rank, window: see `attention_multiply_adds`.

    Returns:
        int.
    """
    seen = min(window**2, tokens)
    per_token = {
        "additive": 4 * width + 2 * heads,
        "fastformer": 5 * width + 4 * heads,
        "linformer": 4 * width + 2 * heads * rank,
        "swin": 4 * width + 2 * heads * seen,
        "swin_pair": 9 * width + 4 * heads * seen,
        "dot_product": 4 * width + 2 * heads * tokens,
    }
    return tokens * per_token[kind]


def mlp_multiply_adds(tokens, width, hidden):
    """Of two dense layers, `width` to `hidden` units and back, on so many `tokens`."""
    return 2 * tokens * width * hidden


def norm_multiply_adds(modulation, noise_dim, width, conditional=False):
    """Of one image's scale and shift.

    Args:
        modulation: "sln", "vitgan_sln" or "layer_norm".
        noise_dim, width: ints, Z and D.
        conditional: bool, "sln" reads a class's vector too.

    Returns:
        int.
    """
    return {
        "sln": (1 + conditional) * noise_dim * width + 2 * width**2,
        "vitgan_sln": 2 * noise_dim * width,
        "layer_norm": 0,
    }[modulation]


def conv_multiply_adds(side, size, inputs, outputs):
    """Of a `size` x `size` convolution of `inputs` channels to side x side x `outputs`."""
    return side**2 * size**2 * inputs * outputs
