"""What the networks of GAT share (arXiv 2509.24935), and the velocity of a flow with them."""

import contextlib

import keras
from keras import ops

from ladagan_tf.models.checks import check, check_positive
from ladagan_tf.models.classes import at_least_float32
from ladagan_tf.models.gat.attention import sincos_table
from ladagan_tf.models.gat.sizes import check_tokens
from ladagan_tf.models.rematerialised import rematerialised

MOST_BLOCKS = 1_000  # 28 in the paper's largest


class GatTransformer(keras.Model):
    """What both networks have: sizes, the table of positions and blocks that may be recomputed.

    Args:
        latent_size, channels, patch, width, depth, num_heads, num_classes, remat, fused,
            trainable_positions, attention: see `GatGenerator`.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    def __init__(
        self,
        *,
        latent_size,
        channels,
        patch,
        width,
        depth,
        num_heads,
        num_classes,
        remat,
        fused,
        trainable_positions,
        attention,
        **kwargs,
    ):
        # Not autocast: latents, styles and logits stay float32 where the blocks compute in half.
        super().__init__(autocast=False, **kwargs)
        self.latent_size = latent_size
        self.channels = channels
        self.patch = patch
        self.width = width
        self.depth = depth
        self.num_heads = num_heads
        self.num_classes = num_classes
        self.remat = remat
        self.fused = fused
        self.trainable_positions = trainable_positions
        self.attention = attention
        check_tokens(latent_size, patch, width, num_heads)
        check_positive(channels=channels, depth=depth)
        check(depth <= MOST_BLOCKS, f"depth={depth}: give at most {MOST_BLOCKS}")
        self.grid = latent_size // patch
        self.precise = at_least_float32(self.compute_dtype)

    def _blocks(self, kind, **more):
        """`depth` blocks of a class, with `more` arguments of its own."""
        arguments = {
            **more,
            "num_heads": self.num_heads,
            "grid": self.grid,
            "fused": self.fused,
            "attention": self.attention,
            "dtype": self.dtype_policy,
        }
        return [kind(**arguments, name=f"block_{i}") for i in range(self.depth)]

    def _run(self, block, *inputs):
        """The block's output; with `remat` only its inputs are stored for the derivative."""
        if not self.remat:
            return block(*inputs)
        precise = block.compute_dtype == "float32"

        # A new function each time: JAX would reuse an earlier trace and the tensors in it.
        def run(*inputs):
            # TensorFlow runs it again when the network may have its own precision back.
            with computing_in(block, "float32") if precise else contextlib.nullcontext():
                return block(*inputs)

        return rematerialised(run)(*inputs)

    def _add_positions(self, grid, name="positions"):
        """The table of positions (grid * grid, C) of a grid, a weight."""
        return self.add_weight(
            (grid**2, self.width),
            lambda shape, dtype: ops.convert_to_tensor(sincos_table(self.width, grid), dtype),
            trainable=self.trainable_positions,
            name=name,
            autocast=False,
        )

    def get_config(self):
        return {
            **super().get_config(),
            "latent_size": self.latent_size,
            "channels": self.channels,
            "patch": self.patch,
            "width": self.width,
            "depth": self.depth,
            "num_heads": self.num_heads,
            "num_classes": self.num_classes,
            "remat": self.remat,
            "fused": self.fused,
            "trainable_positions": self.trainable_positions,
            "attention": self.attention,
        }


@contextlib.contextmanager
def computing_in(network, dtype):
    """Within it, layers of `network` that compute in half precision compute in `dtype`.

    The weights, float32 in mixed precision, are the same. Graphs that were traced outside keep
    their precision, and those traced inside keep `dtype`.

    Args:
        network: keras.Model.
        dtype: str, e.g. "float32"; None leaves them as they are.
    """
    half = [
        (layer, layer.dtype_policy)
        for layer in (network._flatten_layers() if dtype else ())
        if keras.backend.standardize_dtype(layer.compute_dtype) in ("bfloat16", "float16")
    ]
    try:
        for layer, _ in half:
            layer.dtype_policy = dtype
        yield
    finally:
        for layer, policy in half:
            layer.dtype_policy = policy
