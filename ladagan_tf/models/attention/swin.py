"""Swin's attention in windows (arXiv 2103.14030), a rival of LadaGAN's in its ablation.

N = g * g tokens lie row by row on a g x g grid, cut into windows of w x w tokens.
"""

import math

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.attention.dot_product import DotProductAttention, softmax_attention
from ladagan_tf.models.checks import check

MASKED = -1e9  # a score whose softmax weight is exactly 0


def to_windows(x, window):
    """A grid (B, g, g, D) as windows (B, (g / w)^2, w^2, D), both row by row."""
    _, grid, _, width = x.shape
    count = grid // window
    x = ops.reshape(x, (-1, count, window, count, window, width))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, count**2, window**2, width))


def from_windows(x, window):
    """The inverse of `to_windows`."""
    count, width = math.isqrt(x.shape[1]), x.shape[3]
    x = ops.reshape(x, (-1, count, count, window, window, width))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, count * window, count * window, width))


def relative_index(window):
    """For each pair of a window's tokens, the bias table's row of their offset.

    Args:
        window: int, w.

    Returns:
        int array (w^2, w^2) in [0, (2w - 1)^2); entry (i, j) is of query i and key j.
    """
    row, column = np.divmod(np.arange(window**2), window)
    rows, columns = (axis[:, None] - axis + window - 1 for axis in (row, column))
    return rows * (2 * window - 1) + columns


def shift_mask(grid, window, shift):
    """What the scores of a grid rolled by -shift need so that only neighbours see each other.

    The last windows of a rolled grid hold tokens from opposite edges of the image.

    Args:
        grid, window, shift: ints, g, w and the tokens rolled by.

    Returns:
        float32 array ((g / w)^2, 1, w^2, w^2): 0, or `MASKED` where one of the two tokens came
        round the edge and the other did not.
    """
    came_round = np.arange(grid) >= grid - shift
    edges = 2 * came_round[:, None] + came_round  # (g, g), which edges a token crossed
    count = grid // window
    edges = edges.reshape(count, window, count, window).transpose(0, 2, 1, 3)
    edges = edges.reshape(count**2, 1, window**2)
    return np.where(edges[..., None] == edges[..., None, :], 0, MASKED).astype(np.float32)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class SwinAttention(DotProductAttention):
    """Dot-product attention within windows, W-MSA, or within shifted ones, SW-MSA (Swin, Sec. 3.2).

    In each window of w x w tokens, with q, k, v affine in them and d = D / H channels per head:

        A_h = softmax(q_h k_h' / sqrt(d) + R_h);  y = W_o concat_h(A_h v_h) + b_o          (Eq. 4)

    R_h is learned, a number for each of the (2w - 1)^2 offsets between two tokens of a window.
    Shifted windows begin w // 2 tokens further down and right; those at the edges of the grid are
    cut off there, which a mask does after a cyclic shift. Cost is linear in the number of tokens.
    The map is not equivariant to their permutations.

    Args:
        num_heads: int, H. Must divide the channel width D.
        window: int, w. Must divide the side g of the grid; where it is not smaller than g, the grid
            is the one window, and nothing is shifted.
        shifted: bool, SW-MSA.

    Call arguments:
        x: float tensor (B, N, D), the tokens of a square grid, row by row.

    Returns:
        Tokens (B, N, D) and the attention weights (B, H, N) that each token receives, averaged over
        all queries of the grid, so that they sum to 1 over N.

    Raises:
        ValueError: if N is no square, or `num_heads` or `window` do not divide what they must.
    """

    def __init__(self, num_heads=4, window=8, shifted=False, **kwargs):
        super().__init__(num_heads, **kwargs)
        self.window = window
        self.shifted = shifted

    def build(self, x_shape):
        super().build(x_shape)
        tokens = x_shape[1]
        self.grid = math.isqrt(tokens)
        check(self.grid**2 == tokens, f"{tokens} tokens are no square grid, as windows need")
        self.side = min(self.window, self.grid)
        check(
            self.side > 0 and self.grid % self.side == 0,
            f"window={self.window} does not divide the side {self.grid} of the grid",
        )
        self.shift = self.side // 2 if self.shifted and self.side < self.grid else 0
        self.bias_table = self.add_weight(
            ((2 * self.side - 1) ** 2, self.num_heads),
            keras.initializers.TruncatedNormal(stddev=0.02),
            autocast=False,  # it is added to float32 scores
            name="bias_table",
        )

    def _bias(self):
        # Behind a product TensorFlow's gradient of the gather is one dense tensor.
        rows = relative_index(self.side).ravel()
        bias = ops.take(ops.multiply(self.bias_table, 1.0), rows, axis=0)  # (w^4, H)
        bias = ops.cast(bias, keras.backend.result_type(bias.dtype, "float32"))
        bias = ops.transpose(ops.reshape(bias, (self.side**2, self.side**2, self.num_heads)))
        bias = ops.swapaxes(bias, 1, 2)  # (H, w^2, w^2), queries first
        if self.shift:
            mask = shift_mask(self.grid, self.side, self.shift)
            bias = bias + ops.convert_to_tensor(mask, bias.dtype)  # ((g / w)^2, H, w^2, w^2)
        return bias

    def _merged(self, windows):
        """Windows (B, (g / w)^2, w^2, C) as tokens (B, N, C), shifted back."""
        x = from_windows(windows, self.side)
        x = ops.roll(x, (self.shift, self.shift), axis=(1, 2)) if self.shift else x
        return ops.reshape(x, (-1, self.grid**2, x.shape[3]))

    def call(self, x):
        x = ops.reshape(x, (-1, self.grid, self.grid, x.shape[2]))  # (B, g, g, D)
        x = ops.roll(x, (-self.shift, -self.shift), axis=(1, 2)) if self.shift else x
        x = to_windows(x, self.side)  # (B, (g / w)^2, w^2, D)
        mixed, weights = softmax_attention(
            self.query(x), self.key(x), self.value(x), self.num_heads, self._bias()
        )  # (B, (g / w)^2, w^2, D), (B, (g / w)^2, H, w^2, w^2)
        received = ops.sum(weights, axis=3) / self.grid**2  # (B, (g / w)^2, H, w^2)
        received = self._merged(ops.swapaxes(received, 2, 3))  # (B, N, H)
        y = self.output_projection(self._merged(mixed))  # (B, N, D)
        return y, ops.transpose(received, (0, 2, 1))

    def get_config(self):
        return {**super().get_config(), "window": self.window, "shifted": self.shifted}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class SwinPair(keras.layers.Layer):
    """Windows, then shifted windows, which join what the first kept apart (Swin, Sec. 3.2).

        t = W-MSA(x);  y = t + SW-MSA(x + t)

    Swin has the two in blocks after each other. A generator with one block per resolution has both
    in one block, whose own residual adds the x that this sum leaves out.

    Args:
        num_heads, window: see `SwinAttention`.

    Call arguments:
        x: float tensor (B, N, D), the tokens of a square grid, row by row.

    Returns:
        Tokens (B, N, D) and weights (B, H, N), the mean of both layers', which sum to 1 over N.

    Raises:
        ValueError: as `SwinAttention`.
    """

    def __init__(self, num_heads=4, window=8, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window = window

    def build(self, x_shape):
        sizes = {"num_heads": self.num_heads, "window": self.window, "dtype": self.dtype_policy}
        self.regular = SwinAttention(**sizes, name="regular")
        self.shifted = SwinAttention(**sizes, shifted=True, name="shifted")
        for layer in (self.regular, self.shifted):
            layer.build(x_shape)

    def call(self, x):
        t, weights = self.regular(x)  # (B, N, D), (B, H, N)
        y, shifted_weights = self.shifted(x + t)  # (B, N, D), (B, H, N)
        return t + y, (weights + shifted_weights) / 2.0

    def compute_output_shape(self, x_shape):
        return tuple(x_shape), (x_shape[0], self.num_heads, x_shape[1])

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "window": self.window}
