"""Names and layouts of the official GAT checkpoints (PyTorch), as a table of our variables.

A PyTorch linear weight is (outputs, inputs) and a patch embedding (outputs, channels, p, p). An
`OfficialView` shows one of our variables in its official layout, in both directions.
"""

import numpy as np
from keras import ops

from ladagan_tf.models.gat.networks import GatGenerator


class OfficialView:
    """One of our variables as the official code lays it out.

    Attributes:
        variable: keras.Variable.
        shape: tuple, the official shape.
        axes: tuple, the official axes in our order; merging or splitting neighbours then gives our
            shape.
    """

    def __init__(self, variable, shape=None, axes=None):
        self.variable = variable
        self.shape = tuple(variable.shape if shape is None else shape)
        self.axes = tuple(range(len(self.shape)) if axes is None else axes)

    def assign(self, array):
        """Sets the variable from an array in official layout."""
        self.variable.assign(np.transpose(array, self.axes).reshape(self.variable.shape))

    def array(self):
        """The variable's value in official layout."""
        ours = ops.convert_to_numpy(self.variable)
        return np.transpose(
            ours.reshape([self.shape[axis] for axis in self.axes]), np.argsort(self.axes)
        )


def linear_names(layer, prefix):
    """Pairs (official name, view) of a layer with a kernel (inputs, outputs) and a bias."""
    yield f"{prefix}.weight", OfficialView(layer.kernel, layer.kernel.shape[::-1], (1, 0))
    yield f"{prefix}.bias", OfficialView(layer.bias)


def attention_names(attention, prefix):
    yield from linear_names(attention.qkv, f"{prefix}.qkv")
    yield f"{prefix}.q_norm.weight", OfficialView(attention.query_norm.weight)
    yield f"{prefix}.k_norm.weight", OfficialView(attention.key_norm.weight)
    yield from linear_names(attention.output_projection, f"{prefix}.proj")


def block_names(block, prefix):
    """Pairs of what the blocks of both networks have."""
    yield from attention_names(block.attention, f"{prefix}.attn")
    yield from linear_names(block.mlp.expand, f"{prefix}.mlp.w12")
    yield from linear_names(block.mlp.contract, f"{prefix}.mlp.w3")


def table_names(network):
    yield "pos_embed", OfficialView(network.positions, (1, *network.positions.shape))


def generator_names(generator):
    """Pairs (official name, view) for every weight of a `GatGenerator`."""
    mapping = generator.mapping
    yield from table_names(generator)
    yield "w_avg", OfficialView(mapping.mean_style)
    yield "y_embedder.embedding_table.weight", OfficialView(mapping.classes.table)
    yield from linear_names(mapping.hidden, "latent_embedder.0")
    yield from linear_names(mapping.output_layer, "latent_embedder.2")
    for i, block in enumerate(generator.blocks):
        yield from block_names(block, f"blocks.{i}")
        yield from linear_names(block.modulation, f"blocks.{i}.adaLN_modulation.1")
    for i, head in enumerate(generator.heads):
        yield from linear_names(head.to_patch, f"final_layers.{i}.linear")
        yield from linear_names(head.modulation, f"final_layers.{i}.adaLN_modulation.1")


def discriminator_names(discriminator):
    """Pairs (official name, view) for every weight of a `GatDiscriminator`."""
    d = discriminator
    yield from table_names(d)
    yield "cls_token", OfficialView(d.cls, (1, *d.cls.shape))
    kernel = (d.width, d.levels * d.channels, d.patch, d.patch)
    yield "x_embedder.proj.weight", OfficialView(d.to_tokens.kernel, kernel, (2, 3, 1, 0))
    yield "x_embedder.proj.bias", OfficialView(d.to_tokens.bias)
    yield "y_embedder.embedding_table.weight", OfficialView(d.classes.table)
    yield from linear_names(d.class_1, "y_embedder.latent_embedder.0")
    yield from linear_names(d.class_2, "y_embedder.latent_embedder.2")
    for i, block in enumerate(d.blocks):
        prefix = f"blocks.{i}"
        yield f"{prefix}.ls_attn", OfficialView(block.attention_scale)
        yield f"{prefix}.ls_mlp", OfficialView(block.mlp_scale)
        yield f"{prefix}.norm1.weight", OfficialView(block.attention_norm.weight)
        yield f"{prefix}.norm2.weight", OfficialView(block.mlp_norm.weight)
        yield from block_names(block, prefix)
    yield "final_layer.0.weight", OfficialView(d.norm.weight)
    yield from linear_names(d.to_class, "final_layer.1")
    for i, layer in enumerate(d.projector):
        yield from linear_names(layer, f"proj.{2 * i}")


def official_names(network):
    """`generator_names` or `discriminator_names`, by the network's class."""
    names = generator_names if isinstance(network, GatGenerator) else discriminator_names
    return dict(names(network))
