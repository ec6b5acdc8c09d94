"""Additive attention for GAT: LadaGAN's mechanism with the parts of GAT's own attention."""

import keras
from keras import ops

from ladagan_tf.models.attention.additive import additive_pooling, head_width
from ladagan_tf.models.classes import at_least_float32
from ladagan_tf.models.gat.attention import QK_EPSILON
from ladagan_tf.models.gat.initializers import linear, xavier
from ladagan_tf.models.gat.layers import RMSNorm


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GatAdditiveAttention(keras.layers.Layer):
    """Linear additive attention with normed queries and keys, in place of `GatAttention`.

    With d = C / H channels per head:

        q, k, v = split(x W + b);  q, k = RMSNorm(q), RMSNorm(k)
        a_hn = softmax over n of s_h(q_n) / sqrt(d);  g_h = sum_n a_hn q_hn
        y_n  = (g * k_n * v_n) W_o + b_o

    s_h is linear in the whole query of C channels, as in LadaGAN's official code, but without the
    bias there, which cancels in the softmax. Cost is linear in the number of tokens: no N x N
    tensor is formed. All tokens take part alike, the discriminator's cls token too.

    Nothing is rotated: a product with one query for all tokens has no angle between two positions
    to keep. So the map is equivariant to permutations of the tokens, which know their places from
    the table that the networks add at their input.

    Norms, scores, softmax and the global query are computed in float32.

    Args:
        num_heads: int, H. Must divide the channel width C.

    Call arguments:
        x: float tensor (B, N, C).

    Returns:
        Float tensor (B, N, C).

    Raises:
        ValueError: if `num_heads` does not divide C; the message names both.
    """

    def __init__(self, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, x_shape):
        width = x_shape[-1]
        self.head_width = head_width(self.num_heads, width)
        policy, precise = self.dtype_policy, at_least_float32(self.compute_dtype)
        self.qkv = linear(3 * width, policy, "qkv")
        self.query_norm = RMSNorm(QK_EPSILON, dtype=precise, name="query_norm")
        self.key_norm = RMSNorm(QK_EPSILON, dtype=precise, name="key_norm")
        self.score = keras.layers.Dense(
            self.num_heads, use_bias=False, kernel_initializer=xavier(), dtype=precise, name="score"
        )
        self.output_projection = linear(width, policy, "output_projection")
        for norm in (self.query_norm, self.key_norm):
            norm.build((*x_shape[:2], self.num_heads, self.head_width))
        for layer in (self.qkv, self.score, self.output_projection):
            layer.build(x_shape)

    def call(self, x):
        tokens, width = x.shape[1:]
        by_head = (-1, tokens, self.num_heads, self.head_width)
        q, k, v = ops.split(self.qkv(x), 3, axis=-1)  # (B, N, C)
        q = self.query_norm(ops.reshape(q, by_head))  # (B, N, H, d)
        k = self.key_norm(ops.reshape(k, by_head))  # (B, N, H, d)
        scores = self.score(ops.reshape(q, (-1, tokens, width)))  # (B, N, H)
        global_query, _ = additive_pooling(q, scores)  # (B, 1, C)
        mixed = global_query * ops.reshape(k, (-1, tokens, width))  # (B, N, C)
        return self.output_projection(ops.cast(mixed, v.dtype) * v)  # (B, N, C)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
