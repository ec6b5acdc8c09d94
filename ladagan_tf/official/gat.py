"""The official GAT networks, as PyTorch's state dicts hold them: read and written.

The generator of the official code also holds a patch embedding of an image that it multiplies by
zero: it is read over, and written as zeros.
"""

import re

import numpy as np
from keras import ops

from ladagan_tf.errors import one_line_about
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.checks import tensor_problems
from ladagan_tf.models.gat.attention import rope_tables
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.official import gat_files
from ladagan_tf.official.gat_files import KIND, PARTS
from ladagan_tf.official.lada_names import load_official


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
    """Pairs of a `GatAttention`."""
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
    """The pair of a network's table of positions."""
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


ROTATION = ("feat_rope.freqs_cos", "feat_rope.freqs_sin")
DEAD_EMBEDDING = ("x_embedder.proj.weight", "x_embedder.proj.bias")
GENERATORS = ("generator", "ema")
# Of config.json in a folder of diffusers: what says the same as the shapes.
CLASSES = {"generator": "GATGenerator", "discriminator": "GATDiscriminator"}
FIELDS = {
    "input_size": "latent_size", "patch_size": "patch", "in_channels": "channels",
    "latent_size": "noise_dim", "hidden_size": "width", "depth": "depth", "num_heads": "num_heads",
    "num_classes": "num_classes", "cmap_dim": "class_dim",
}  # fmt: skip


def constants(network):
    """What an official state dict holds besides weights of ours, by name."""
    head_width = network.width // network.num_heads
    tables = [t.astype("float32") for t in rope_tables(head_width, network.grid)]
    extra = dict(zip(ROTATION, tables, strict=True))
    if isinstance(network, GatGenerator):
        shape = (network.width, network.channels, network.patch, network.patch)
        values = (np.zeros(shape, "float32"), np.zeros(shape[:1], "float32"))
        extra |= zip(DEAD_EMBEDDING, values, strict=True)
    return extra


def load_state(network, state):
    """Assigns an official state dict to a network.

    Args:
        network: `GatGenerator` or `GatDiscriminator`.
        state: mapping from official name to array.

    Raises:
        ValueError: listing names that are missing, unknown or of another shape; nothing is
            assigned.
    """
    names, ignored = official_names(network), constants(network)
    weights = {name: array for name, array in state.items() if name not in ignored}
    if problems := tensor_problems(weights, {name: v.shape for name, v in names.items()}):
        raise ValueError(problems)
    load_official(names.items(), weights)


def official_state(network):
    """The network's weights as an official state dict of float32 arrays."""
    views = {name: view.array() for name, view in official_names(network).items()}
    return views | constants(network)


def network_of(state, **options):
    """The network that an official state dict is of, with its weights; sizes from the shapes.

    Args:
        state: mapping from official name to array, of a generator or a discriminator.
        **options: constructor arguments that are no sizes, such as `remat` or `dtype`.

    Returns:
        `GatGenerator` or `GatDiscriminator`.

    Raises:
        ValueError: if names or shapes are not those of such a network.
    """
    try:
        kind, sizes = _discriminator(state) if "cls_token" in state else _generator(state)
    except KeyError as missing:
        names = ", ".join([*sorted(state)[:3], "..."])
        raise ValueError(f"1 missing ({missing.args[0]}); its names are {names}") from None
    with blank_of(sum(array.size for array in state.values())):
        network = kind(**sizes, **options)
    load_state(network, state)
    return network


def _sizes(state):
    """The constructor arguments that both networks share."""
    _, tokens, width = state["pos_embed"].shape
    patch = state["x_embedder.proj.weight"].shape[-1]
    return {
        "latent_size": round(tokens**0.5) * patch,
        "patch": patch,
        "width": width,
        "depth": _count(state, r"blocks\.(\d+)\."),
        "num_heads": width // state["blocks.0.attn.q_norm.weight"].shape[0],
        "num_classes": state["y_embedder.embedding_table.weight"].shape[0],
    }


def _count(state, pattern):
    return len({match[1] for name in state if (match := re.match(pattern, name))})


def _generator(state):
    return GatGenerator, {
        **_sizes(state),
        "channels": state["x_embedder.proj.weight"].shape[1],
        "noise_dim": state["y_embedder.embedding_table.weight"].shape[1],
        "levels": _count(state, r"final_layers\.(\d+)\."),
    }


def _discriminator(state):
    levels = 4  # the official code knows no other number
    aligned = "proj.0.weight" in state
    return GatDiscriminator, {
        **_sizes(state),
        "channels": state["x_embedder.proj.weight"].shape[1] // levels,
        "levels": levels,
        "class_dim": state["y_embedder.embedding_table.weight"].shape[1],
        "projector_dim": state["proj.0.weight"].shape[0] if aligned else 1,
        "teacher_dim": state["proj.4.weight"].shape[0] if aligned else None,
    }


def read_checkpoint(path, official_quirks=False):
    """The networks in a checkpoint of the official training code; nothing in it is executed.

    Args:
        path: a .pt file that holds state dicts "generator", "ema" and "discriminator"; or a folder
            of those three as .safetensors, as `gat_runs.write_official` writes it.
        official_quirks: bool, networks that train their positions and whose guidance is the
            official one.

    Returns:
        Dict: those three as networks; "args", the run's flags as a dict; "steps", int.

    Raises:
        InputError: if a file cannot be read or holds other networks, naming it.
    """
    content = gat_files.read(path, PARTS)
    with one_line_about(path, KIND):
        networks = {part: _network(content, part, official_quirks) for part in PARTS}
    return {**networks, "args": content.args, "steps": content.steps or 0}


def read_network(path, part, official_quirks=False):
    """One network of an official checkpoint, in any layout of `gat_files.read`.

    Args:
        path: the file or folder.
        part: one of `PARTS`; a single state dict must be of its kind.
        official_quirks: as of `read_checkpoint`.

    Returns:
        (GatGenerator or GatDiscriminator, number of steps it was trained or None).

    Raises:
        InputError: as `read_checkpoint`.
    """
    content = gat_files.read(path, (part,))
    with one_line_about(path, KIND):
        return _network(content, part, official_quirks), content.steps


def _network(content, part, official_quirks):
    """The network of a part; ValueError if it is no such network, or not that of its config."""
    state, config = content.states[part], content.configs.get(part, {})
    kind = "generator" if part in GENERATORS else "discriminator"
    options = {"trainable_positions": official_quirks}
    if part in GENERATORS:
        options |= {"official_guidance": official_quirks}
    if part == "ema":
        options |= {"name": "averaged_generator"}
    try:
        if config.get("_class_name", CLASSES[kind]) != CLASSES[kind]:
            raise ValueError(f"config.json is of a {config['_class_name']}, not {CLASSES[kind]}")
        if state and ("cls_token" in state) != (kind == "discriminator"):
            raise ValueError(f"it is no {kind}")
        network = network_of(state, **options)
        for field, attribute in FIELDS.items():
            size = getattr(network, attribute, None)
            if size is not None and config.get(field, size) != size:
                raise ValueError(f"config.json has {field}={config[field]}, its tensors {size}")
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from error
    return network
