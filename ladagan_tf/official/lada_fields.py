"""The official config.json and our flags and arguments, as tables of each other."""

import math

from ladagan_tf.errors import InputError

MOST = 2**31  # of a count


def count(value):
    """A positive int below `MOST`."""
    if isinstance(value, bool) or int(value) != float(value) or not 0 < int(value) < MOST:
        raise ValueError(value)
    return int(value)


def counts(value):
    """A tuple of positive ints from a list, a flag's `1,2,3`, or false, officially none."""
    parts = value.split(",") if isinstance(value, str) else value or ()
    return tuple(count(part) for part in parts if part != "")


def number(value):
    """A finite float."""
    if isinstance(value, bool) or not math.isfinite(float(value)):
        raise ValueError(value)
    return float(value)


def switch(value):
    """A bool, as JSON or flags write it."""
    if str(value) not in ("True", "False"):
        raise ValueError(value)
    return str(value) == "True"


ACCEPTED = {
    count: "a positive integer",
    counts: "a list of positive integers",
    number: "a number",
    switch: "true or false",
    str: "a text",
}
REQUIRED = object()
FIELDS = {
    # official        our flag             kind      if the field is missing
    "img_size":      ("resolution",        count,    REQUIRED),
    "batch_size":    ("batch_size",        count,    REQUIRED),
    "noise_dim":     ("noise_dim",         count,    REQUIRED),
    "g_dim":         ("g_widths",          counts,   REQUIRED),
    "g_heads":       ("g_heads",           counts,   REQUIRED),
    "g_mlp":         ("g_mlp_widths",      counts,   REQUIRED),
    "dec_dim":       ("g_decoder_widths",  counts,   ()),
    "d_enc_dim":     ("d_widths",          counts,   REQUIRED),
    "d_out_dim":     ("d_out_widths",      counts,   REQUIRED),
    "d_heads":       ("d_heads",           count,    REQUIRED),
    "d_mlp":         ("d_mlp_width",       count,    REQUIRED),
    "g_lr":          ("g_lr",              number,   2e-4),
    "d_lr":          ("d_lr",              number,   2e-4),
    "g_beta1":       ("beta1",             number,   0.5),
    "d_beta1":       ("beta1",             number,   0.5),
    "g_beta2":       ("beta2",             number,   0.99),
    "d_beta2":       ("beta2",             number,   0.99),
    "gp_weight":     ("r1_weight",         number,   1e-4),
    "policy":        ("policy",            str,      "color,translation"),
    "loss":          ("loss",              str,      "nsl"),
    "ema_decay":     ("ema_decay",         number,   0.999),
    "bcr":           ("bcr",               switch,   False),
    "cr_weight":     ("bcr_weight",        number,   0.1),
}  # fmt: skip
# Fields that only the authors' code reads, at its values: for configs written from our own runs.
THEIRS = {
    "g_initializer": "orthogonal", "d_initializer": "orthogonal", "fid_batch_size": 50,
    "gen_batch_size": 50, "n_fid_real": 2500, "n_fid_gen": 2500, "plot_size": 5.2, "test_seed": 77,
}  # fmt: skip
# What their code trains by, of our flags that no field holds.
UNHELD = {
    "loss": ("nsl", "hinge"), "r2_weight": (0.0,), "penalty_share": (1.0,),
    "centring_weight": (0.0,), "epsilon": (1e-7,), "clip_norm": (0.0,),
    "ema_halflife_kimg": (0.0,), "schedule": ("constant",), "augment_p": (1.0,),
    "augment_pairs": ("False",), "augment_ramp": ("False",), "augment_target": (0.0,),
    "range_weight": (0.0,),
}  # fmt: skip
# Constructor arguments by field.
GENERATOR = {
    "resolution": "img_size", "noise_dim": "noise_dim", "widths": "g_dim", "num_heads": "g_heads",
    "mlp_widths": "g_mlp", "decoder_widths": "dec_dim",
}  # fmt: skip
DISCRIMINATOR = {
    "resolution": "img_size", "widths": "d_enc_dim", "out_widths": "d_out_dim",
    "num_heads": "d_heads", "mlp_width": "d_mlp",
}  # fmt: skip


def parse_config(fields, path):
    """Checks the fields of a config.json.

    Args:
        fields: dict of JSON values.
        path: of the file, for messages.

    Returns:
        Dict from each field of `FIELDS` to a Python value.

    Raises:
        InputError: naming the first field that is missing or has another kind of value.
    """
    parsed = {}
    for field, (_, kind, default) in FIELDS.items():
        value = fields.get(field, default)
        if value is REQUIRED:
            raise InputError(f"{path}: no field {field!r}")
        try:
            parsed[field] = kind(value)
            if default is REQUIRED and parsed[field] == ():
                raise ValueError(value)
        except (ValueError, TypeError, OverflowError):
            raise InputError(f"{path}: {field}={value!r}; give {ACCEPTED[kind]}") from None
    return parsed


def flags_of(config, path):
    """What a parsed config says as flags of `train.py`.

    Returns:
        Dict from flag name to text, as a run records it.

    Raises:
        InputError: if two fields that are one flag here differ.
    """
    flags = {}
    for field, (flag, kind, _) in FIELDS.items():
        value = config[field]
        text = ",".join(map(str, value)) if kind is counts else str(value)
        if flags.setdefault(flag, text) != text:
            raise InputError(
                f"{path}: {field}={text}, but --{flag}={flags[flag]} is one for both networks here"
            )
    return flags


def config_of(flags, path):
    """The fields of an official config.json from a run's flags; the inverse of `flags_of`."""
    config = {}
    for field, (flag, kind, _) in FIELDS.items():
        try:
            value = kind(flags[flag])
        except (KeyError, ValueError):
            raise InputError(f"{path}: no usable --{flag}={flags.get(flag, '')}") from None
        config[field] = list(value) if kind is counts else value
    config["dec_dim"] = config["dec_dim"] or False
    return config


def not_held(flags):
    """What of a run's flags an official config.json does not say, as "--name=value": list of str.

    Args:
        flags: dict of text, as a run records it.
    """
    return [
        f"--{name}={flags[name]}"
        for name, theirs in UNHELD.items()
        if name in flags and flags[name] not in map(str, theirs)
    ]


def arguments(table, config):
    """Constructor arguments by a table such as `GENERATOR`."""
    return {name: config[field] for name, field in table.items()}
