"""Names of the official LadaGAN checkpoints' variables, as a table of ours.

The official names are `tf.train.Checkpoint` object paths, e.g.
`generator/block_8/attn/wq/kernel`; kernels have the same layout as ours, so converting is renaming.
"""

from ladagan_tf.models.checks import tensor_problems
from ladagan_tf.models.lada.generator import GRID

ATTENTION = {
    "wq": "query",
    "wk": "key",
    "wv": "value",
    "q_attn": "score",
    "to_out": "output",
}
BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def attention_names(attention, prefix):
    """Pairs (official name, variable) of one `AdditiveAttention`."""
    for official, ours in ATTENTION.items():
        for part in ("kernel", "bias"):
            yield f"{prefix}/{official}/{part}", getattr(attention, f"{ours}_{part}")


def dense_names(layer, prefix):
    """Pairs of a dense or convolution layer; the bias only where there is one."""
    yield f"{prefix}/kernel", layer.kernel
    if layer.use_bias:
        yield f"{prefix}/bias", layer.bias


def batch_norm_names(norm, prefix):
    """Pairs of a `BatchNormalization`."""
    for part in BATCH_NORM:
        yield f"{prefix}/{part}", getattr(norm, part)


def sln_names(norm, prefix):
    """Pairs of a `SelfModulatedLayerNorm`."""
    yield from dense_names(norm.hidden, f"{prefix}/h")
    yield from dense_names(norm.scale, f"{prefix}/gamma")
    yield from dense_names(norm.shift, f"{prefix}/beta")


def ladaformer_names(block, prefix):
    """Pairs of a `Ladaformer`."""
    yield from attention_names(block.attention, f"{prefix}/attn")
    yield from dense_names(block.expand, f"{prefix}/mlp/layer_with_weights-0")
    yield from dense_names(block.contract, f"{prefix}/mlp/layer_with_weights-1")
    for norm, name in ((block.attention_norm, "norm1"), (block.mlp_norm, "norm2")):
        if block.modulated:
            yield from sln_names(norm, f"{prefix}/{name}")
        else:
            yield f"{prefix}/{name}/gamma", norm.gamma
            yield f"{prefix}/{name}/beta", norm.beta


def down_block_names(block, prefix):
    """Pairs of a `DownBlock`."""
    main, direct = f"{prefix}/main/layer_with_weights", f"{prefix}/direct/layer_with_weights"
    yield from dense_names(block.main_conv_1, f"{main}-0")
    yield from batch_norm_names(block.main_norm_1, f"{main}-1")
    yield from dense_names(block.main_conv_2, f"{main}-2")
    yield from batch_norm_names(block.main_norm_2, f"{main}-3")
    yield from dense_names(block.direct_conv, f"{direct}-0")
    yield from batch_norm_names(block.direct_norm, f"{direct}-1")


def generator_names(generator, prefix="generator"):
    """Pairs (official name, variable) for every weight of a `Generator`."""
    yield from dense_names(generator.latent_to_tokens, f"{prefix}/init/layer_with_weights-0")
    for i, side in enumerate(GRID):
        table = generator.positions[i].table
        yield f"{prefix}/pos_emb_{side}/position_embedding/embeddings", table
        yield from ladaformer_names(generator.blocks[i], f"{prefix}/block_{side}")
        if i < len(generator.convs):
            yield from dense_names(generator.convs[i], f"{prefix}/conv_{side}")
    for i, stage in enumerate(generator.decoder):
        yield from dense_names(stage.conv, f"{prefix}/dec/layer_with_weights-{2 * i}")
        yield from batch_norm_names(stage.norm, f"{prefix}/dec/layer_with_weights-{2 * i + 1}")
    yield from dense_names(generator.to_rgb, f"{prefix}/ch_conv")


def discriminator_names(discriminator, prefix="discriminator"):
    """Pairs (official name, variable) for every weight of a `Discriminator`."""
    yield from dense_names(discriminator.from_rgb, f"{prefix}/inp_conv/layer_with_weights-0")
    for i, block in enumerate(discriminator.down_blocks):
        yield from down_block_names(block, f"{prefix}/encoder/{i}")
    # The official names say 8, but this block runs on the 16x16 grid.
    table = discriminator.positions.table
    yield f"{prefix}/pos_emb_8/position_embedding/embeddings", table
    yield from ladaformer_names(discriminator.block, f"{prefix}/block_8")
    yield from dense_names(discriminator.head_conv_1, f"{prefix}/conv_4")
    yield from dense_names(discriminator.head_conv_2, f"{prefix}/down_4/layer_with_weights-0")
    yield from dense_names(discriminator.to_logits, f"{prefix}/down_4/layer_with_weights-1")


def optimizer_names(optimizer, names, network, prefix):
    """Pairs (official name, variable) for the state of an Adam optimizer.

    The official optimizer numbers its variables: 0 is the iteration, then follow the momentum and
    the velocity of each trainable weight, in the order of the name table.

    Args:
        optimizer: keras Adam, built with `network.trainable_variables`; may be in a
            `LossScaleOptimizer`.
        names: `generator_names` or `discriminator_names`.
        network: the network it trains.
        prefix: "g_optimizer" or "d_optimizer".
    """
    adam = getattr(optimizer, "inner_optimizer", optimizer)
    slots = [v for v in adam.variables if v.name not in ("iteration", "learning_rate")]
    position = {id(v): i for i, v in enumerate(network.trainable_variables)}
    trained = [v for _, v in names(network) if id(v) in position]
    yield f"{prefix}/_iterations", adam.iterations
    for i, weight in enumerate(trained):
        for part in (0, 1):
            slot = slots[2 * position[id(weight)] + part]
            yield f"{prefix}/_variables/{2 * i + part + 1}", slot


def load_official(names, arrays):
    """Assigns official arrays to our variables.

    Args:
        names: iterable of (official name, variable), e.g. `generator_names(generator)`.
        arrays: mapping from official name to array; it may hold more than `names`.

    Raises:
        ValueError: listing names that are missing or have another shape; nothing is assigned.
    """
    pairs = list(names)
    shapes = {name: variable.shape for name, variable in pairs}
    if problems := tensor_problems(arrays, shapes, unknown=False):
        raise ValueError(problems)
    for name, variable in pairs:
        variable.assign(arrays[name])
