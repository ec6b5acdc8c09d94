"""The attention layers of LadaGAN's ablation: one interface, so that a block can have any."""

from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.models.attention.additive import AdditiveAttention
from ladagan_tf.models.attention.dot_product import DotProductAttention
from ladagan_tf.models.attention.fastformer import FastformerAttention
from ladagan_tf.models.attention.linformer import LinformerAttention
from ladagan_tf.models.attention.swin import SwinAttention, SwinPair
from ladagan_tf.models.checks import check


def make_attention(kind, num_heads, *, score="full", rank=64, window=8, dtype=None, name=None):
    """A layer from tokens (B, N, D) to tokens (B, N, D) and weights (B, H, N) or None.

    Args:
        kind: one of `models.attention.ATTENTIONS`.
        num_heads: int, H.
        score: of "additive", see `AdditiveAttention`.
        rank: of "linformer", see `LinformerAttention`.
        window: of "swin" and "swin_pair", see `SwinAttention`.
        dtype: Keras dtype policy.
        name: str, the layer's name.

    Returns:
        Keras layer, not built.

    Raises:
        ValueError: if `kind` or `score` is unknown.
    """
    check(kind in ATTENTIONS, f"attention={kind!r} is not one of {', '.join(ATTENTIONS)}")
    if kind == "fastformer":
        return FastformerAttention(num_heads, dtype=dtype, name=name)
    if kind == "linformer":
        return LinformerAttention(num_heads, rank, dtype=dtype, name=name)
    if kind == "swin":
        return SwinAttention(num_heads, window, dtype=dtype, name=name)
    if kind == "swin_pair":
        return SwinPair(num_heads, window, dtype=dtype, name=name)
    if kind == "dot_product":
        return DotProductAttention(num_heads, dtype=dtype, name=name)
    return AdditiveAttention(num_heads, score, dtype=dtype, name=name)
