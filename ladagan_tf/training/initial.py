"""A new run that starts from networks which were trained before."""

import keras

from ladagan_tf.errors import InputError
from ladagan_tf.models.transfer import name_of, take_weights
from ladagan_tf.weights.reading import content_sha256

# Where each network takes its weights from: the first that is there.
SOURCES = {
    "generator": ("generator", "averaged"),
    "averaged": ("averaged", "generator"),
    "discriminator": ("discriminator",),
}


def networks_sha256(networks):
    """What tells networks to start from apart, whatever file they came in: str.

    Args:
        networks: dict from a name of `SOURCES` to keras.Model.
    """
    return content_sha256(
        {
            f"{part}/{name_of(weight)}": keras.ops.convert_to_numpy(weight)
            for part, network in networks.items()
            for weight in network.weights
        }
    )


def start_from(model, networks, named):
    """Gives a new run the weights of trained networks, where they fit; optimizers stay new.

    Args:
        model: TrainedModel; call it in its strategy's scope.
        networks: dict from a name of `SOURCES` to keras.Model.
        named: str, the flag and value that named them, for messages.

    Returns:
        Dict from a name of `SOURCES` to (name of what it took, Transfer), without what has no
        source.

    Raises:
        InputError: if they are of another system, nothing fits, or what is frozen would be new.
    """
    done, parts = {}, {**model.networks, "averaged": model.averaged}
    for part in (part for part in SOURCES if part in parts):
        found = [source for source in SOURCES[part] if source in networks]
        ours = parts[part]
        if not found:
            continue
        theirs = networks[found[0]]
        if type(theirs) is not type(ours):
            raise InputError(
                f"{named}: its {found[0]} is a {type(theirs).__name__}, this run has a "
                f"{type(ours).__name__}; transfer within one --system"
            )
        done[part] = found[0], take_weights(ours, theirs)
    if not any(transfer.fits for _, transfer in done.values()):
        raise InputError(f"{named}: nothing of it fits, {_mismatch(done)}")
    frozen = getattr(model.networks.get("discriminator"), "frozen", ())
    new = [n for n in frozen if "discriminator" not in done or n in done["discriminator"][1].new]
    if new:
        raise InputError(
            f"{named}: it has no {new[0]} that fits the discriminator, so --freeze_d would keep "
            f"random numbers there; freeze fewer blocks"
        )
    return done


def _mismatch(done):
    """The first array of another shape, in words."""
    for part, (_, transfer) in done.items():
        for name, (here, there) in transfer.new.items():
            if there:
                return f"as {name} of the {part}, {here} here and {there} there"
    return "nothing has the same name"


def in_words(done, parts=SOURCES):
    """What was taken, new and left out: by layer, and by name where only a part of a layer is new.

    Args:
        done: what `start_from` returned.
        parts: names of `SOURCES` that the run has.

    Returns:
        List of lines.
    """
    lines = []
    for part in (part for part in SOURCES if part in parts):
        if part not in done:
            lines.append(f"{part}: all of it is new")
            continue
        source, transfer = done[part]
        taken, new = (dict.fromkeys(map(_layer, names)) for names in (transfer.taken, transfer.new))
        lines.append(
            f"{part}: of the {source} {len(transfer.taken)} of "
            f"{len(transfer.taken) + len(transfer.new)} arrays were taken, {transfer.share:.1%} of "
            f"the values: {', '.join(f'part of {n}' if n in new else n for n in taken)}"
        )
        if transfer.settings:
            said = (f"{n}={here} ({there} there)" for n, (here, there) in transfer.settings.items())
            lines.append(f"{part}: set otherwise than the {source}: {', '.join(said)}")
        for what, names in (("new", transfer.new), ("left out", transfer.left_out)):
            said = {n if _layer(n) in taken else _layer(n): None for n in names}
            if said:
                lines.append(f"{part}: {what}: {', '.join(said)}")
    return lines


def _layer(name):
    return name.partition("/")[0]


def record(done, named, sha256):
    """All of it as plain values, for a file of the run.

    Args:
        done: what `start_from` returned.
        named: str, where the networks were found.
        sha256: what `networks_sha256` returned.
    """
    networks = {
        part: {
            "from": source,
            "taken": list(transfer.taken),
            "new": {n: {"here": h, "there": t} for n, (h, t) in transfer.new.items()},
            "left_out": list(transfer.left_out),
            "settings": {n: {"here": h, "there": t} for n, (h, t) in transfer.settings.items()},
        }
        for part, (source, transfer) in done.items()
    }
    return {"init_from": named, "sha256": sha256, "networks": networks}
