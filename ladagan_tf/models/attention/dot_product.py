"""Multi-head dot-product attention (arXiv 1706.03762), the quadratic reference of the ablation."""

import math

import keras
from keras import ops

from ladagan_tf.models.attention.additive import head_width
from ladagan_tf.models.orthogonal import dense


def softmax_attention(query, key, value, num_heads, bias=None):
    """softmax(q k' / sqrt(d) + bias) v for each head of d = D / H channels (Vaswani et al., Eq. 1).

    Args:
        query: float tensor (..., N, D).
        key, value: float tensors (..., M, D).
        num_heads: int, H.
        bias: float tensor that broadcasts to (..., H, N, M), or None.

    Returns:
        Float tensor (..., N, D) and weights (..., H, N, M), at least float32, that sum to 1 over M.
    """
    query, key, value = (_by_head(part, num_heads) for part in (query, key, value))
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2))  # (..., H, N, M)
    scores = ops.cast(scores, keras.backend.result_type(scores.dtype, "float32"))
    scores = scores / math.sqrt(query.shape[-1])
    if bias is not None:
        scores = scores + bias
    weights = ops.softmax(scores, axis=-1)  # (..., H, N, M)
    mixed = ops.matmul(ops.cast(weights, value.dtype), value)  # (..., H, N, d)
    mixed = ops.swapaxes(mixed, -2, -3)  # (..., N, H, d)
    return ops.reshape(mixed, (-1, *mixed.shape[1:-2], num_heads * mixed.shape[-1])), weights


def _by_head(x, num_heads):
    """(..., N, D) as (..., H, N, d)."""
    x = ops.reshape(x, (-1, *x.shape[1:-1], num_heads, x.shape[-1] // num_heads))
    return ops.swapaxes(x, -2, -3)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class DotProductAttention(keras.layers.Layer):
    """Multi-head dot-product attention: every token attends to every token.

    With q, k, v affine in the tokens x and d = D / H channels per head:

        A_h = softmax(q_h k_h' / sqrt(d));  y = W_o concat_h(A_h v_h) + b_o

    (Vaswani et al., Sec. 3.2). The bias of k cancels in the softmax. Cost is quadratic in the
    number of tokens: A is (B, H, N, N). The map is equivariant to permutations of the tokens.

    Args:
        num_heads: int, H. Must divide the channel width D.

    Call arguments:
        x: float tensor (B, N, D), the tokens.

    Returns:
        Tokens (B, N, D) and the attention weights (B, H, N) that each token receives, averaged over
        the queries, so that they sum to 1 over N.

    Raises:
        ValueError: if `num_heads` does not divide D; the message names both.
    """

    def __init__(self, num_heads=4, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, x_shape):
        width, policy = x_shape[-1], self.dtype_policy
        head_width(self.num_heads, width)
        self.query = dense(width, policy, "query")
        self.key = dense(width, policy, "key")
        self.value = dense(width, policy, "value")
        self.output_projection = dense(width, policy, "output_projection")
        for layer in (self.query, self.key, self.value, self.output_projection):
            layer.build(x_shape)

    def call(self, x):
        mixed, weights = softmax_attention(
            self.query(x), self.key(x), self.value(x), self.num_heads
        )  # (B, N, D), (B, H, N, N)
        return self.output_projection(mixed), ops.mean(weights, axis=2)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape), (x_shape[0], self.num_heads, x_shape[1])

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
