"""GAT's positions and attention (arXiv 2509.24935).

T = g * g tokens lie row by row on a g x g grid; C channels are H heads of d = C / H. The two
position codes disagree on which axis comes first: the table begins with the column, the rotation
with the row.
"""

import functools
import math

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.checks import check
from ladagan_tf.models.classes import at_least_float32
from ladagan_tf.models.gat.initializers import linear
from ladagan_tf.models.gat.layers import RMSNorm

QK_EPSILON = 1.1920929e-07  # float32's machine epsilon, under half precision too
THETA = 10_000.0  # base of all position frequencies


def grid_axes(grid):
    """Row and column of each of the grid * grid tokens, two int arrays (T,)."""
    return np.repeat(np.arange(grid), grid), np.tile(np.arange(grid), grid)


def sincos_table(width, grid):
    """The fixed 2-D position table: first C/2 channels the column, last C/2 the row.

    Each half is [sin, cos] of the index times the C/4 frequencies 10000^(-j / (C/4)).

    Args:
        width: int, C, a multiple of 4.
        grid: int, g.

    Returns:
        float64 array (T, C) in [-1, 1].
    """
    frequencies = THETA ** (-np.arange(width // 4) / (width // 4))
    row, column = (np.outer(axis, frequencies) for axis in grid_axes(grid))
    return np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], axis=1)


@functools.cache
def rope_tables(head_width, grid, leading=0):
    """Angles of axial rotary positions: first d/2 channels the row, last d/2 the column.

    Each axis has the d/4 frequencies 10000^(-2j / (d/2)), each on two adjacent channels.

    Args:
        head_width: int, d, a multiple of 4.
        grid: int, g.
        leading: int, tokens in front of the grid's, of an angle of zero.

    Returns:
        float64 arrays (leading + T, d): cosine and sine.
    """
    half = head_width // 2
    frequencies = THETA ** (-2 * np.arange(half // 2) / half)
    angles = np.concatenate([np.outer(axis, frequencies) for axis in grid_axes(grid)], axis=1)
    angles = np.pad(np.repeat(angles, 2, axis=1), ((leading, 0), (0, 0)))
    return np.cos(angles), np.sin(angles)


def rotate(x, cos, sin):
    """Rotates adjacent channel pairs: (a, b) -> (a cos - b sin, b cos + a sin).

    Args:
        x: float tensor (B, N, H, d).
        cos, sin: arrays (N, d) as of `rope_tables`.

    Returns:
        Float tensor (B, N, H, d) of the same norms.
    """
    tokens, heads, width = x.shape[1:]
    cos = ops.convert_to_tensor(cos[:, None], x.dtype)  # (N, 1, d)
    sin = ops.convert_to_tensor((sin * np.tile([-1, 1], width // 2))[:, None], x.dtype)
    pairs = ops.reshape(x, (-1, tokens, heads, width // 2, 2))
    swapped = ops.reshape(ops.flip(pairs, axis=-1), (-1, tokens, heads, width))
    return x * cos + swapped * sin  # (B, N, H, d)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GatAttention(keras.layers.Layer):
    """Softmax self-attention with normed, rotated queries and keys.

        q, k, v = split(x W + b);  q, k = rotate(RMSNorm(q)), rotate(RMSNorm(k))
        y = softmax(q k' / sqrt(d)) v W_o + b_o

    Tokens in front of the grid's, such as the discriminator's cls token, are not rotated. Norms,
    rotation and softmax are computed in float32. Weights do not depend on the grid: a call may also
    be of a smaller or larger one, behind as many tokens in front.

    Args:
        num_heads: int, H.
        grid: int, g; the last g * g tokens are the grid's when the layer is built.
        fused: bool, use `keras.ops.dot_product_attention`, which is flash attention where the
            backend has it (JAX on GPU and TPU; TensorFlow has none); else the formula above.

    Call arguments:
        x: float tensor (B, N, C), N >= g * g.

    Returns:
        Float tensor (B, N, C).

    Raises:
        ValueError: if C is no multiple of 4 H, or there are fewer than g * g tokens, or a call's
            are those of no square grid.
    """

    def __init__(self, num_heads, grid, fused=True, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.grid = grid
        self.fused = fused

    def build(self, x_shape):
        _, tokens, width = x_shape
        self.leading = tokens - self.grid**2
        check(self.leading >= 0, f"grid={self.grid} has more tokens than the {tokens} given")
        check(
            width % (4 * self.num_heads) == 0,
            f"num_heads={self.num_heads}: the width {width} is no multiple of 4 times that",
        )
        self.head_width = width // self.num_heads
        policy, precise = self.dtype_policy, at_least_float32(self.compute_dtype)
        self.qkv = linear(3 * width, policy, "qkv")
        self.query_norm = RMSNorm(QK_EPSILON, dtype=precise, name="query_norm")
        self.key_norm = RMSNorm(QK_EPSILON, dtype=precise, name="key_norm")
        self.output_projection = linear(width, policy, "output_projection")
        self.qkv.build(x_shape)
        for norm in (self.query_norm, self.key_norm):
            norm.build((None, tokens, self.num_heads, self.head_width))
        self.output_projection.build(x_shape)

    def call(self, x):
        tokens = x.shape[1]
        grid = math.isqrt(max(tokens - self.leading, 0))
        check(grid**2 + self.leading == tokens, f"{tokens} tokens are those of no square grid")
        angles = rope_tables(self.head_width, grid, self.leading)  # (N, d) each
        by_head = (-1, tokens, self.num_heads, self.head_width)
        q, k, v = (ops.reshape(part, by_head) for part in ops.split(self.qkv(x), 3, axis=-1))
        q = rotate(self.query_norm(q), *angles)  # (B, N, H, d)
        k = rotate(self.key_norm(k), *angles)  # (B, N, H, d)
        attend = fused_attention if self.fused else explicit_attention
        y = attend(ops.cast(q, v.dtype), ops.cast(k, v.dtype), v)  # (B, N, H, d)
        y = ops.reshape(y, (-1, tokens, self.num_heads * self.head_width))  # (B, N, C)
        return self.output_projection(y)  # (B, N, C)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "grid": self.grid,
            "fused": self.fused,
        }


def fused_attention(q, k, v):
    """softmax(q k' / sqrt(d)) v for tensors (B, N, H, d), as the backend does it best."""
    # Of an odd number of tokens, D's, cuDNN has no gradient, which Keras under JAX does not notice.
    flash = False if q.shape[1] % 2 else None
    scale = 1.0 / math.sqrt(q.shape[-1])
    return ops.dot_product_attention(q, k, v, scale=scale, flash_attention=flash)


def explicit_attention(q, k, v):
    """softmax(q k' / sqrt(d)) v for tensors (B, N, H, d), product by product."""
    q, k, v = (ops.transpose(part, (0, 2, 1, 3)) for part in (q, k, v))  # (B, H, N, d)
    scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))  # (B, H, N, N)
    scores = ops.cast(scores, at_least_float32(scores.dtype)) / math.sqrt(q.shape[-1])
    weights = ops.cast(ops.softmax(scores, axis=-1), v.dtype)  # (B, H, N, N)
    return ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))  # (B, N, H, d)
