"""The model card of an export: what the generator is, what it was trained on and how to load it."""

import contextlib
import json
import pathlib

import ladagan_tf
from ladagan_tf import zoo
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError
from ladagan_tf.models.gat.decoded import DecodedGenerator, undecoded
from ladagan_tf.runs import results
from ladagan_tf.runs.checkpoints import newest_state
from ladagan_tf.sampling.sampler import flow_of

NAME = "README.md"
SAMPLES = "samples.png"
MOST_CLASSES = 100  # named

# By the file's name in the export folder.
LOADING = {
    "saved_model": """\
SavedModel, with TensorFlow alone:

    model = tf.saved_model.load("saved_model")
    images = model.generate({generate})  # uint8 (4, {side}, {side}, 3)
    images = model.serve({inputs})  # float, nominally in [-1, 1]{also}
""",
    "generator.keras": """\
Keras, with this project installed:

    import keras, ladagan_tf
    generator = keras.saving.load_model("generator.keras")
    images = generator({inputs})  # float, nominally in [-1, 1]
""",
    "generator.float16.keras": """\
Keras, with this project installed; the file holds float16, what is loaded computes in float32:

    import ladagan_tf
    generator, about = ladagan_tf.load("FOLDER")  # this one, or hf:USER/REPO, zoo:NAME
    images = generator({inputs})  # float, nominally in [-1, 1]
""",
    "generator.onnx": """\
ONNX:

    session = onnxruntime.InferenceSession("generator.onnx")
    names = [tensor.name for tensor in session.get_inputs()]
    (images,) = session.run(None, dict(zip(names, [{inputs}])))
""",
    "model.onnx.gz": """\
A page that makes images in a browser, for any static host:

    python -m http.server --directory FOLDER
""",
    "generator.tflite": """\
LiteRT, any batch size, built-in operators only:

    from ai_edge_litert.interpreter import Interpreter
    generate = Interpreter("generator.tflite").get_signature_runner()
    (images,) = generate({named}).values()
""",
}


ATTENTION = "; `attend` also returns attention"
TRUNCATION = """
    images = model.truncate({inputs}, psi=0.7)"""
PSI = """\
Truncation, psi, trades variety for fidelity: 1 changes nothing, 0 gives each class's mean style.
GAT's authors count the other way: their 0.3 is 0.7 here. Guidance above 1 moves styles away from
their mean over all classes. A call of the Keras model takes both.
"""


def write(folder, sampler, files, batches, run=None, licence=None, notes=()):
    """Writes the model card, `README.md` of an export folder.

    Args:
        folder: pathlib.Path of the export.
        sampler: Sampler with a network.
        files: dict from the files' names to their largest error against the live model.
        batches: sequence of ints, the batch sizes over which that is.
        run: `runs.directory.RunDirectory`, or None if where the weights come from is not known.
        licence: str, of the training images; None if it is not known.
        notes: sequence of sentences on files whose weights are rounded.
    """
    parts = [_heading(sampler), _architecture(sampler), _training(sampler, run)]
    parts += [_results(sampler, run), _loading(sampler, files, batches, notes), _licence(licence)]
    (folder / NAME).write_text("\n".join(parts), encoding="utf-8")


def _heading(sampler):
    side, about = sampler.resolution, sampler.about
    classes = f", for each of {sampler.num_classes} classes" if sampler.num_classes else ""
    facts = "".join(f"- {name}: {value}\n" for name, value in about.items())
    return f"""\
---
license: apache-2.0
library_name: keras
pipeline_tag: unconditional-image-generation
---
# {title(sampler)}

A transformer {_kind(sampler)}{classes}: an image of {side} x {side} pixels from
{sampler.noise_dim} normal numbers.

![Images of seeds 0 to 63]({SAMPLES})

*Images of seeds 0 to 63, not selected.*

{facts}"""


def _kind(sampler):
    """How the generator makes images, in words."""
    flow = flow_of(sampler.network)
    if flow is None:
        return "GAN that makes an image in one step"
    return f"that follows a learned velocity from noise in {flow.steps} steps by {flow.sampler}"


def title(sampler):
    """What a Sampler with a network makes, in words, as "LadaGAN 64 x 64"."""
    generator = undecoded(sampler.network)
    paper = getattr(generator, "paper", type(generator).__name__)
    return f"{paper} {sampler.resolution} x {sampler.resolution}"


def _architecture(sampler):
    sizes = _sizes(undecoded(sampler.network), leave_out=("class_names",))
    text = f"## Architecture\n\n{sizes}{_classes(sampler.class_names)}"
    if not isinstance(sampler.network, DecodedGenerator):
        return text
    vae = sampler.network.vae
    about = "".join(f"- {name}: {_plain(value)}\n" for name, value in vae.about.items())
    return f"""\
{text}
It generates latents; images are their decoding by an autoencoder that was not trained with it:

{_sizes(vae, leave_out=("about",))}
Of the autoencoder is known:

{about}- SHA-256 of its tensors: {sampler.about.get("vae_sha256", "not computed")}

{PSI if sampler.truncated else ""}"""


def _classes(names):
    """The classes' numbers and names as a paragraph, if they have names."""
    if not names:
        return ""
    numbered = ", ".join(f"{i} {_plain(name)}" for i, name in enumerate(names[:MOST_CLASSES]))
    rest = len(names) - MOST_CLASSES
    more = f", and {rest:,} more, which the model's `class_names` has" if rest > 0 else ""
    return f"\nClasses: {numbered}{more}.\n"


def _sizes(network, leave_out=()):
    config = {
        name: value
        for name, value in network.get_config().items()
        if name not in ("name", "trainable", "dtype", *leave_out)
    }
    sizes = "".join(f"- {name}: {_plain(value)}\n" for name, value in config.items())
    return f"""\
`{type(network).__module__}.{type(network).__name__}`, {network.count_params():,} parameters.

{sizes}"""


def _training(sampler, run):
    if run is None:
        source = sampler.about.get("model", "")
        if source.startswith(zoo.PREFIX):
            return (
                f"## Training\n\nExported from {source}, a model that comes with ladagan_tf "
                f"{ladagan_tf.__version__}: `ladagan_tf/zoo/{source.removeprefix(zoo.PREFIX)}` "
                "says what it was trained on.\n"
            )
        return (
            "## Training\n\nExported from a file: what it was trained on is not recorded in it.\n"
        )
    flags = run.flags()
    windows, _ = results.read_stats(run.path)
    kimg = sampler.about.get("kimg", 0)  # the run may have gone on
    last = [line for line in windows if line["kimg"] <= kimg][-1:]
    state = "".join(f"- {k}: {_plain(v)}\n" for line in last for k, v in line.items())
    resolved = "".join(f"    --{name}={value}\n" for name, value in flags.items())
    return f"""\
## Training

{_data(flags, run)}{_begun(flags)}
The last line of its statistics up to these weights:

{state or "- none recorded"}
Its flags:

{resolved}"""


def _data(flags, run):
    if not flags.get("dataset"):
        return "Data: not recorded.\n"
    info = find_set(run)
    if info is None:
        content = recorded_content(run)
        known = f"; SHA-256 of its pixels or latents, and labels, `{content}`" if content else ""
        return f"Data: `{flags['dataset']}`; its description was not found from here{known}.\n"
    classes = f" in {len(info.classes)} classes ({', '.join(info.classes)})" if info.classes else ""
    return (
        f"Data: {info.count:,} images of {info.resolution} x {info.resolution} pixels{classes}, "
        f"prepared from `{pathlib.Path(info.preparation.source).name}` (crop "
        f"{info.preparation.crop}, {info.preparation.resize_filter}); SHA-256 of pixels and labels "
        f"`{info.content_sha256}`.\n"
    )


def _begun(flags):
    if "init_from" not in flags:
        return ""
    name = flags["init_from"]
    shown = name if ":" in name else pathlib.Path(name).name
    return f"\nIt began with the weights of `{shown}`: what those were trained on counts, too.\n"


def find_set(run):
    """`DatasetInfo` of the prepared set of a run, looked for from here and around the run, or None.

    A set of the same name and another content is passed over.

    Args:
        run: `runs.directory.RunDirectory`.
    """
    flags, content = run.flags(), recorded_content(run)
    if not flags.get("dataset"):
        return None
    folder = pipeline.prepared_folder(flags["dataset"], flags.get("resolution"))
    for base in (pathlib.Path(), *run.path.resolve().parents):
        with contextlib.suppress(InputError, OSError):  # not there, or closed to this user
            info = dataset_info.load_info(base / folder)
            if content in (None, info.content_sha256):
                return info
    return None


def recorded_content(run):
    """The `content_sha256` of the set that a run's checkpoints are of; None in old ones.

    Args:
        run: `runs.directory.RunDirectory`.
    """
    state = newest_state(run.checkpoints)
    contents = state["about"].get("contents") if state else None
    return contents.get("dataset") if isinstance(contents, dict) else None


def _results(sampler, run):
    """What `evaluate.py` measured of this checkpoint: a table and its protocol, per protocol."""
    tables = {}
    for line in measurements(run, sampler.about):
        name = line.get("name")
        row = f"| {name} | {_plain(line.get('value'))} | {_plain(line.get('spread') or '')} |\n"
        protocol = _protocol(line.get("protocol", "not recorded"))
        tables[protocol] = tables.get(protocol, "") + row
    if not tables:
        return "## Results\n\nNot evaluated: there is no measured metric of these weights.\n"
    return "## Results\n" + "".join(
        f"\n| metric | value | spread |\n|---|---|---|\n{rows}\n{protocol}"
        for protocol, rows in tables.items()
    )


def measurements(run, about):
    """The latest of each number that `evaluate.py` measured of some weights of a run in one way.

    Args:
        run: `runs.directory.RunDirectory`; None for none.
        about: dict, `Sampler.about` of the weights.

    Returns:
        List of dicts, lines of metrics.jsonl.
    """
    lines = results.read_metrics(run.path) if run else []
    return list({_measured(line): line for line in lines if _is_of(line, about)}.values())


def _measured(line):
    """What tells measurements of the same weights apart: their protocol, but for the run's path."""
    protocol = results.protocol_of(line)
    generated = {**protocol["generated"], "model": None}
    return line.get("name"), json.dumps({**protocol, "generated": generated}, sort_keys=True)


def _is_of(line, about):
    """Whether a measurement says that it is of the exported weights: one run has several."""
    protocol = line.get("protocol")
    measured = protocol.get("generated") if isinstance(protocol, dict) else None
    return isinstance(measured, dict) and all(
        measured.get(name) == about.get(name)
        for name in ("checkpoint", "ema", "average", "vae_sha256")
    )


def _protocol(protocol):
    parts = protocol.items() if isinstance(protocol, dict) else [("protocol", protocol)]
    return "".join(f"- {name}: {_plain(value)}\n" for name, value in parts)


def _loading(sampler, files, batches, notes):
    inputs = "z, labels" if sampler.num_classes else "z"
    generate = "num=4, seed=0" + (", labels=[0, 0, 0, 0]" if sampler.num_classes else "")
    truncates = sampler.truncated is not None
    words = {
        "side": sampler.resolution,
        "inputs": inputs,
        "named": "z=z, labels=labels" if sampler.num_classes else "z=z",
        "generate": generate + (", psi=1.0" if truncates else ""),
        "also": ATTENTION if getattr(sampler.network, "has_attention_maps", False) else "",
    }
    words["also"] += TRUNCATION.format(inputs=inputs) if truncates else ""
    rows = "".join(f"| `{name}` | {error:.1e} |\n" for name, error in files.items())
    labels = ", and `labels` int32 (4,)" if sampler.num_classes else ""
    code = "\n".join(LOADING[name].format(**words) for name in files)
    rounded = "".join(f"\n{note}\n" for note in notes)
    return f"""\
## Files

| file | largest error |
|---|---|
{rows}
The error is against the live Keras model, over batches of {_plain(batches)} images, as a share of
the largest value where that is above 1. Below, `z` holds standard normal numbers, float32
(4, {sampler.noise_dim}){labels}.
{rounded}
{code}"""


def _licence(licence):
    images = f": {_plain(licence)}" if licence else ""
    return (
        f"## Licence\n\nApache-2.0. The training images keep the licence of their source{images}.\n"
        f"Written by ladagan_tf {ladagan_tf.__version__}.\n"
    )


def _plain(value):
    """A value as text of one line, which a table cell can hold."""
    if isinstance(value, float):
        return plain(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(v)}" for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(v) for v in value) or "none"
    return str(value).replace("|", "/").replace("\n", " ")
