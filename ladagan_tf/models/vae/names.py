"""The names of the autoencoder's tensors: this network's, diffusers' and those of LDM checkpoints.

Canonical are diffusers' present names ("encoder.mid_block.attentions.0.to_q.weight"), with
PyTorch's layouts (OIHW, OI). Published files have its former attention names, or LDM's.
"""

import re

LDM_PREFIX = "first_stage_model."  # of the autoencoder within a whole latent diffusion checkpoint
LDM_TRAINING = "loss."  # LPIPS and a discriminator, in checkpoints of an autoencoder alone
WEIGHT = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}

# In this order; `{up}` counts the decoder's levels from the other end.
RENAMINGS = [
    (r"\bdown\.(\d+)\.block\.", r"down_blocks.\1.resnets."),
    (r"\bdown\.(\d+)\.downsample\.", r"down_blocks.\1.downsamplers.0."),
    (r"\bup\.(\d+)\.block\.", "up_blocks.{up}.resnets."),
    (r"\bup\.(\d+)\.upsample\.", "up_blocks.{up}.upsamplers.0."),
    (r"\bmid\.block_1\.", "mid_block.resnets.0."),
    (r"\bmid\.block_2\.", "mid_block.resnets.1."),
    (r"\bmid\.attn_1\.norm\.", "mid_block.attentions.0.group_norm."),
    (r"\bmid\.attn_1\.", "mid_block.attentions.0."),
    (r"\bnin_shortcut\.", "conv_shortcut."),
    (r"\bnorm_out\.", "conv_norm_out."),
    (r"(attentions\.0)\.(?:q|query)\.", r"\1.to_q."),
    (r"(attentions\.0)\.(?:k|key)\.", r"\1.to_k."),
    (r"(attentions\.0)\.(?:v|value)\.", r"\1.to_v."),
    (r"(attentions\.0)\.(?:proj_out|proj_attn)\.", r"\1.to_out.0."),
]


def variable_name(variable):
    """Canonical name of one of the network's variables, from its path within the model."""
    *layers, kind = variable.path.split("/")[1:]
    return ".".join([*layers, WEIGHT[kind]])


def canonical_name(name, levels):
    """Canonical name of a tensor of any of the three spellings, for a network of `levels`."""
    for pattern, replacement in RENAMINGS:
        found = re.search(pattern, name)
        if found:
            if "{up}" in replacement:
                replacement = replacement.format(up=levels - 1 - int(found[1]))
            name = re.sub(pattern, replacement, name)
    return name


def canonical(tensors, levels=None):
    """Renames a file's tensors, and makes 1x1 convolutions of the attention dense kernels.

    Args:
        tensors: dict, name -> array. With names that begin with `first_stage_model.`, all others
            belong to other networks and are left out; so is what `loss.` begins.
        levels: int, resolutions of the network; None counts them in the names.

    Returns:
        dict, canonical name -> array, PyTorch's layout. Unknown names are kept.

    Raises:
        ValueError: if two names stand for one tensor.
    """
    if any(name.startswith(LDM_PREFIX) for name in tensors):
        inner = {n: a for n, a in tensors.items() if n.startswith(LDM_PREFIX)}
        tensors = {name.removeprefix(LDM_PREFIX): array for name, array in inner.items()}
    levels = levels or count_levels(tensors)
    found = {}
    for name, array in tensors.items():
        if name.startswith(LDM_TRAINING):
            continue
        new = canonical_name(name, levels)
        if new in found:
            raise ValueError(f"{new} is there twice, once as {name}")
        if ".attentions." in new and array.ndim == 4 and array.shape[2:] == (1, 1):
            array = array[:, :, 0, 0]
        found[new] = array
    return found


def count_levels(tensors):
    """Resolutions of the network whose tensors these are, in any spelling; at least 1.

    Raises:
        ValueError: if they are numbered beyond the number of tensors.
    """
    numbers = [re.match(r"encoder\.down(?:_blocks)?\.(\d{1,19})\.", name) for name in tensors]
    levels = max([int(found[1]) for found in numbers if found], default=0) + 1
    if levels > max(1, len(tensors)):
        raise ValueError(f"{levels} levels in the names of {len(tensors)} tensors")
    return levels


def sizes(tensors):
    """Arguments of the `AutoencoderKL` that fits canonical tensors, as far as they tell.

    Args:
        tensors: dict as `canonical` returns it.

    Returns:
        dict of "widths", "resnets" and "latent_channels", or an empty one for other tensors.
    """
    first = "encoder.down_blocks.{}.resnets.0.conv1.bias"
    widths = [tensors.get(first.format(i)) for i in range(count_levels(tensors))]
    latent = tensors.get("post_quant_conv.bias")
    if latent is None or any(width is None for width in widths):
        return {}
    resnets = sum(f"encoder.down_blocks.0.resnets.{i}.conv1.bias" in tensors for i in range(100))
    return {
        "widths": tuple(len(width) for width in widths),
        "resnets": resnets,
        "latent_channels": len(latent),
    }
