"""Linformer's attention (arXiv 2006.04768), a rival of LadaGAN's in its ablation."""

import keras
from keras import ops

from ladagan_tf.models.attention.dot_product import DotProductAttention, softmax_attention
from ladagan_tf.models.checks import check
from ladagan_tf.models.orthogonal import ORTHOGONAL


@keras.saving.register_keras_serializable(package="ladagan_tf")
class LinformerAttention(DotProductAttention):
    """Dot-product attention to r mixtures of the tokens instead of all N (Linformer, Eq. 7).

    With q, k, v affine in the tokens x, d = D / H channels per head, and learned E and F, (N, r):

        A_h = softmax(q_h (E' k_h)' / sqrt(d));  y = W_o concat_h(A_h F' v_h) + b_o

    E and F are two matrices that all heads of the layer share (the paper's headwise sharing,
    Sec. 4). Cost is linear in the number of tokens: A is (B, H, N, r). N is fixed when the layer is
    built, and every token has rows of its own in E and F: the map is not equivariant.

    Args:
        num_heads: int, H. Must divide the channel width D.
        rank: int, r, from 1 to N.

    Call arguments:
        x: float tensor (B, N, D), the tokens.

    Returns:
        Tokens (B, N, D) and None: the weights are of mixtures, whose signed parts say nothing of
        where a token looks.

    Raises:
        ValueError: if `num_heads` does not divide D or `rank` is not from 1 to N.
    """

    def __init__(self, num_heads=4, rank=64, **kwargs):
        super().__init__(num_heads, **kwargs)
        self.rank = rank

    def build(self, x_shape):
        super().build(x_shape)
        tokens = x_shape[1]
        check(1 <= self.rank <= tokens, f"rank={self.rank} of {tokens} tokens: give 1 to {tokens}")
        shape = (tokens, self.rank)
        self.key_mixing = self.add_weight(shape, ORTHOGONAL, name="key_mixing")
        self.value_mixing = self.add_weight(shape, ORTHOGONAL, name="value_mixing")

    def call(self, x):
        key = ops.matmul(ops.transpose(self.key_mixing), self.key(x))  # (B, r, D)
        value = ops.matmul(ops.transpose(self.value_mixing), self.value(x))  # (B, r, D)
        mixed, _ = softmax_attention(self.query(x), key, value, self.num_heads)  # (B, N, D)
        return self.output_projection(mixed), None

    def compute_output_shape(self, x_shape):
        return tuple(x_shape), ()  # no weights; Keras's summary takes only shapes

    def get_config(self):
        return {**super().get_config(), "rank": self.rank}
