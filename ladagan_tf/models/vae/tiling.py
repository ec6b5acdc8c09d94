"""Decoding strip by strip: less memory, the same picture.

Tiles that are decoded on their own show: convolutions miss their neighbours, and group norms the
statistics of the whole. So not the image is tiled but every layer: an activation is a list of
strips of rows, a convolution borrows a row from each neighbour, and a group norm pools the moments
of all strips. Nothing overlaps, nothing is blended and nothing is computed twice. What is large
only for a moment, normalised and padded copies, is only ever one strip; what remains in full are
the input, the inner activation and the output of one resnet.
"""

from keras import ops


def decode_in_strips(decoder, z, rows):
    """The decoder applied to latents in strips.

    Args:
        decoder: built `vae_coders.Decoder`.
        z: float tensor (B, h, w, C) of static h and w.
        rows: int >= 1, latent rows per strip; the last strip may have fewer.

    Returns:
        Tensor (B, H, W, 3) of the decoder's compute dtype.

    Raises:
        ValueError: if `rows` is less than 1.
    """
    if rows < 1:
        raise ValueError(f"tile={rows}: it must be at least 1")
    # Attention lets all positions interact, but at the latents' resolution nothing is large.
    x = decoder.mid(decoder.conv_in(z))  # (B, h, w, Wn)
    strips = [x[:, start : start + rows] for start in range(0, x.shape[1], rows)]
    for level in decoder.levels:
        for block in level.resnets:
            strips = _resnet(block, strips)
        if level.resampler:
            strips = _upsampled(level.resampler, strips)
    strips = list(_convolved(decoder.conv_out, strips, _norm_silu(decoder.norm_out, strips)))
    return ops.concatenate(strips, axis=1)


def _resnet(block, strips):
    inner = list(_convolved(block.conv1, strips, _norm_silu(block.norm1, strips)))
    outer = _convolved(block.conv2, inner, _norm_silu(block.norm2, inner))
    shortcut = block.conv_shortcut or (lambda x: x)
    return [shortcut(x) + h for x, h in zip(strips, outer, strict=True)]


def _upsampled(upsample, strips):
    # Repeated first: the convolution borrows a row of the finer grid.
    strips = [ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2) for x in strips]
    return list(_convolved(upsample.conv, strips, lambda x: x))


def _norm_silu(norm, strips):
    """A function of a strip: silu(norm(x)) with the moments of all strips together."""
    total = sum(x.shape[1] for x in strips)
    parts = [(x.shape[1] / total, *norm.moments(x)) for x in strips]
    mean = sum(share * m for share, m, _ in parts)
    variance = sum(share * (v + ops.square(m - mean)) for share, m, v in parts)
    return lambda x: ops.silu(norm(x, moments=(mean, variance)))


def _convolved(layer, strips, prepare):
    """Yields the strips of a "same" 3x3 convolution of `prepare` of each strip."""
    for i, x in enumerate(strips):
        first, last = i == 0, i + 1 == len(strips)
        above = [] if first else [strips[i - 1][:, -1:]]
        below = [] if last else [strips[i + 1][:, :1]]
        x = prepare(ops.concatenate([*above, x, *below], axis=1))
        x = ops.pad(x, ((0, 0), (int(first), int(last)), (1, 1), (0, 0)))
        kernel, bias = (ops.cast(w, layer.compute_dtype) for w in (layer.kernel, layer.bias))
        yield ops.conv(x, kernel, padding="valid") + bias
