"""Linear additive attention (LadaGAN, arXiv 2401.09596, Sec. III-A)."""

import math

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.attention import SCORES
from ladagan_tf.models.one_by_one import one_by_one
from ladagan_tf.models.orthogonal import ORTHOGONAL


def head_width(num_heads, width):
    """Channels per head, d = D / H; raises ValueError if `num_heads` does not divide `width`."""
    if num_heads < 1 or width % num_heads:
        raise ValueError(
            f"num_heads={num_heads} does not divide the width {width}: "
            f"give a positive divisor of {width}"
        )
    return width // num_heads


def additive_pooling(by_head, scores):
    """Sums the tokens into one, weighted head by head.

        a_hn = softmax over n of s_hn / sqrt(d);  g_h = sum_n a_hn t_hn

    Args:
        by_head: float tensor (B, N, H, d), t, the tokens; all but B are known.
        scores: float tensor (B, N, H), s.

    Returns:
        Global token (B, 1, H d) and weights (B, H, N), at least float32, that sum to 1 over N.
    """
    tokens, heads, width = by_head.shape[1:]
    # In half precision a softmax over many tokens would lose the small weights.
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    # Over the last axis: over another, TensorFlow works out a transposition when it is run.
    weights = ops.softmax(ops.transpose(scores, (0, 2, 1)) / math.sqrt(width))  # (B, H, N)
    by_weight = ops.cast(weights, by_head.dtype)
    if not one_by_one():
        shares = ops.expand_dims(ops.transpose(by_weight, (0, 2, 1)), -1)  # (B, N, H, 1)
        pooled = shares * by_head  # (B, N, H, d)
        return ops.reshape(ops.sum(pooled, axis=1), (-1, 1, heads * width)), weights
    # One product of matrices pools all channels by every head's weights: no weighted copy of the
    # tokens is made. Of (H, H d) the d of a head by its own weights are kept.
    with keras.name_scope("pooling"):
        channels = ops.reshape(by_head, (-1, tokens, heads * width))  # (B, N, H d)
        pooled = ops.matmul(by_weight, channels)  # (B, H, H d)
        own = ops.cast(np.repeat(np.eye(heads), width, axis=1), by_head.dtype)  # (H, H d)
        return ops.sum(pooled * own, axis=1, keepdims=True), weights


@keras.saving.register_keras_serializable(package="ladagan_tf")
class AdditiveAttention(keras.layers.Layer):
    """Linear additive attention: one global query per head (LadaGAN, Sec. III-A).

    With q, k, v affine in the tokens x and d = D / H channels per head:

        a_hn = softmax over n of s_h(q_n) / sqrt(d)        weights, sum to 1 over the tokens
        g_h  = sum_n a_hn q_hn                             global query of head h
        r_hn = (g_h * k_hn) * v_hn                         elementwise
        y_n  = W_o concat_h(r_hn) + b_o

    Cost is linear in the number of tokens: no N x N tensor is formed. The map is equivariant to
    permutations of the tokens.

    Args:
        num_heads: int, H. Must divide the channel width D.
        score: "full", each head's score is a linear function of the whole D-dimensional query (the
            official code), or "per_head", one vector per head on that head's d-dimensional query
            (the paper's formula). "full" has H * (D - d) + H more parameters. Its H biases cancel
            in the softmax and have zero gradient; they are kept to hold official checkpoints.

    Call arguments:
        x: float tensor (B, N, D), the tokens.

    Returns:
        Tokens (B, N, D) and attention weights (B, H, N) that sum to 1 over N.

    Raises:
        ValueError: if `num_heads` does not divide D or `score` is unknown; the message names them.
    """

    def __init__(self, num_heads=4, score="full", **kwargs):
        super().__init__(**kwargs)
        if score not in SCORES:
            raise ValueError(f"score={score!r} is not one of {', '.join(SCORES)}")
        self.num_heads = num_heads
        self.score = score

    def build(self, x_shape):
        width = x_shape[-1]
        self.width = width
        self.head_width = head_width(self.num_heads, width)
        self.query_kernel, self.query_bias = self._affine("query", width)
        self.key_kernel, self.key_bias = self._affine("key", width)
        self.value_kernel, self.value_bias = self._affine("value", width)
        if self.score == "full":
            self.score_kernel, self.score_bias = self._affine("score", self.num_heads)
        else:
            self.score_kernel = self.add_weight(
                (self.num_heads, self.head_width), initializer=ORTHOGONAL, name="score_kernel"
            )
        self.output_kernel, self.output_bias = self._affine("output", width)

    def _affine(self, name, units):
        kernel = self.add_weight((self.width, units), initializer=ORTHOGONAL, name=f"{name}_kernel")
        return kernel, self.add_weight((units,), initializer="zeros", name=f"{name}_bias")

    def call(self, x):
        query = ops.matmul(x, self.query_kernel) + self.query_bias  # (B, N, D)
        key = ops.matmul(x, self.key_kernel) + self.key_bias  # (B, N, D)
        value = ops.matmul(x, self.value_kernel) + self.value_bias  # (B, N, D)
        by_head = ops.reshape(query, (-1, x.shape[1], self.num_heads, self.head_width))
        if self.score == "full":
            scores = ops.matmul(query, self.score_kernel) + self.score_bias  # (B, N, H)
        else:
            scores = ops.sum(by_head * self.score_kernel, axis=-1)  # (B, N, H)
        global_query, weights = additive_pooling(by_head, scores)  # (B, 1, D), (B, H, N)
        mixed = global_query * key * value  # (B, N, D)
        y = ops.matmul(mixed, self.output_kernel) + self.output_bias  # (B, N, D)
        return y, weights

    def compute_output_shape(self, x_shape):
        return tuple(x_shape), (x_shape[0], self.num_heads, x_shape[1])

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "score": self.score}
