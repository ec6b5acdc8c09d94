"""Fastformer's additive attention (arXiv 2108.09084), a rival of LadaGAN's in its ablation."""

import keras
from keras import ops

from ladagan_tf.models.attention.additive import additive_pooling, head_width
from ladagan_tf.models.orthogonal import dense


@keras.saving.register_keras_serializable(package="ladagan_tf")
class FastformerAttention(keras.layers.Layer):
    """Additive attention with a global query and a global key (Fastformer, Sec. 3.1).

    With q, k affine in the tokens x and d = D / H channels per head:

        a_hn = softmax over n of s_h(q_n) / sqrt(d);  g_h = sum_n a_hn q_hn
        p_n  = g * k_n                                  elementwise
        b_hn = softmax over n of t_h(p_n) / sqrt(d);  c_h = sum_n b_hn p_hn
        y_n  = W_o (c * q_n) + b_o + q_n

    The values are the queries: the paper shares their projection. s_h and t_h are affine in the
    whole D-dimensional vector, as in the authors' code (`AdditiveAttention`'s "full" score); their
    biases cancel in the softmax. Cost is linear in the number of tokens, and the map is equivariant
    to their permutations.

    Args:
        num_heads: int, H. Must divide the channel width D.

    Call arguments:
        x: float tensor (B, N, D), the tokens.

    Returns:
        Tokens (B, N, D) and attention weights (B, H, N), the a_hn, that sum to 1 over N.

    Raises:
        ValueError: if `num_heads` does not divide D; the message names both.
    """

    def __init__(self, num_heads=4, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, x_shape):
        width, policy = x_shape[-1], self.dtype_policy
        self.head_width = head_width(self.num_heads, width)
        self.query = dense(width, policy, "query")
        self.key = dense(width, policy, "key")
        self.query_score = dense(self.num_heads, policy, "query_score")
        self.key_score = dense(self.num_heads, policy, "key_score")
        self.output_projection = dense(width, policy, "output_projection")
        for layer in (
            self.query, self.key, self.query_score, self.key_score, self.output_projection
        ):  # fmt: skip
            layer.build(x_shape)

    def _pooled(self, tokens, scores):
        by_head = ops.reshape(tokens, (-1, tokens.shape[1], self.num_heads, self.head_width))
        return additive_pooling(by_head, scores)

    def call(self, x):
        query, key = self.query(x), self.key(x)  # (B, N, D)
        global_query, weights = self._pooled(query, self.query_score(query))  # (B, 1, D)
        p = global_query * key  # (B, N, D)
        global_key, _ = self._pooled(p, self.key_score(p))  # (B, 1, D)
        y = self.output_projection(global_key * query) + query  # (B, N, D)
        return y, weights

    def compute_output_shape(self, x_shape):
        return tuple(x_shape), (x_shape[0], self.num_heads, x_shape[1])

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
