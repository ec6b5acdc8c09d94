"""The SavedModel of a generator: its endpoints, which run without Keras and without our code."""

import inspect

import keras
import tensorflow as tf

MAX_NUM = 256  # images of one call of `generate`


def write_saved_model(network, path):
    """Writes a SavedModel with the endpoints `serve`, `generate` and, if it can, more.

        serve(z) -> float32 images (B, S, S, 3), nominally in [-1, 1], not clipped; the default
        generate(num, seed) -> uint8 images (num, S, S, 3)
        attend(z) -> dict: `images` as from serve; `attention_8` (B, H, 64) and so on, one map per
            side of a token grid
        truncate(z, labels, psi) -> images as from serve, truncated, of networks with a mean style;
            unconditional ones take (z, psi). Their `generate` takes psi too

    `z` is float32 (B, Z); `num` an int32 from 1 to 256 and `seed` an int64 from 0. Conditional
    generators take int32 `labels` (B,) behind these. `psi` is a float32 from 0, the class's mean
    style, to 1, no truncation, as in serve. Bad values raise `InvalidArgumentError` saying what is
    accepted. Image i of `generate` depends on seed + i only, whatever `num`, but its latent is
    drawn by TensorFlow: it is another one than that of `seeds.latents`, which NumPy draws.

    Args:
        network: keras.Model with `noise_dim`, and `num_classes` if conditional; float32.
        path: folder to write.
    """
    classes = getattr(network, "num_classes", 0)
    labels = [tf.TensorSpec((None,), tf.int32, name="labels")] if classes else []
    latents = [tf.TensorSpec((None, network.noise_dim), tf.float32, name="z"), *labels]
    truncates = getattr(network, "truncates", False)
    strength = [tf.TensorSpec((), tf.float32, name="psi")] if truncates else []
    request = [
        tf.TensorSpec((), tf.int32, name="num"),
        tf.TensorSpec((), tf.int64, name="seed"),
        *labels,
        *strength,
    ]

    # Each in a graph of its own that every endpoint calls. They are there before TensorFlow traces
    # the endpoints, twice each, for their variables and for the file: these it would trace anew.
    def traced(function, inputs):
        return tf.function(function, inputs, autograph=False).get_concrete_function()

    images = traced(lambda z, *labels: network(z, *labels, training=False), latents)
    if strength:
        truncated = traced(
            lambda z, *rest: network(z, *rest[:-1], psi=rest[-1], training=False),
            [*latents, *strength],
        )
    has_maps = getattr(network, "has_attention_maps", False)
    if has_maps:
        attended = traced(network.attention_maps, latents)

    def serve(z, *labels):
        return images(z, *_checked(labels, tf.shape(z)[0], classes))

    def truncate(z, *rest):
        *labels, psi = rest
        inside = (psi >= 0.0) & (psi <= 1.0)
        psi = _require(psi, inside, "psi must be from 0 to 1; given")
        return truncated(z, *_checked(labels, tf.shape(z)[0], classes), psi)

    def generate(num, seed, *labels):
        num = _require(
            num, (num >= 1) & (num <= MAX_NUM), f"num must be from 1 to {MAX_NUM}; given"
        )
        seed = _require(seed, seed >= 0, "seed must be from 0 to 2^63 - 1; given")
        z = draw_latents(num, seed, network.noise_dim)
        return to_uint8((truncate if strength else serve)(z, *labels))

    def attend(z, *labels):
        labels = _checked(labels, tf.shape(z)[0], classes)
        images, maps = attended(z, *labels)
        sides = [round(m.shape[2] ** 0.5) for m in maps]
        return {"images": images} | {
            f"attention_{side}": m for side, m in zip(sides, maps, strict=True)
        }

    archive = keras.export.ExportArchive()
    archive.track(network)

    def add(function, inputs):
        archive.add_endpoint(function.__name__, _with_names(function, inputs), inputs)

    add(serve, latents)  # the first one is also `serving_default`
    add(generate, request)
    if has_maps:
        add(attend, latents)
    if strength:
        add(truncate, [*latents, *strength])
    # What `saved_models.load_saved_model` reads. Keras has no public way to store plain values.
    if strength and not getattr(network, "guides", False):
        archive._tf_trackable.guides = tf.Variable(False, trainable=False)
    if classes:
        archive._tf_trackable.num_classes = tf.Variable(classes, trainable=False)
        if names := getattr(network, "class_names", ()):
            archive._tf_trackable.class_names = tf.Variable(names, trainable=False)
    archive.write_out(str(path), verbose=False)


def _with_names(function, inputs):
    """The function with its inputs' names, by which the loaded one can then be called."""

    def call(*values):
        return function(*values)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    call.__signature__ = inspect.Signature([inspect.Parameter(x.name, kind) for x in inputs])
    return call


def draw_latents(num, seed, noise_dim):
    """Standard normal latents in a graph, one independent stream per seed.

    Args:
        num: int32 scalar tensor.
        seed: int64 scalar tensor, seed of the first latent; the next has seed + 1.
        noise_dim: int, Z.

    Returns:
        float32 tensor (num, Z).
    """

    def draw(offset):
        stream = tf.stack([seed + offset, tf.zeros((), tf.int64)])
        # Philox by name: the automatic choice is another generator on TPUs.
        return tf.random.stateless_normal((noise_dim,), stream, alg="philox")

    offsets = tf.range(tf.cast(num, tf.int64))
    return tf.map_fn(draw, offsets, fn_output_signature=tf.TensorSpec((noise_dim,), tf.float32))


def to_uint8(images):
    """As `pictures.to_uint8`, in a graph: clipped and rounded half to even, not truncated."""
    return tf.cast(tf.round((tf.clip_by_value(images, -1.0, 1.0) + 1.0) * 127.5), tf.uint8)


def _checked(labels, count, classes):
    """The labels, if there are as many as images and each names a class."""
    if not labels:
        return labels
    (given,) = labels
    given = _require(
        given, tf.shape(given)[0] == count, "labels must be as many as images; given labels"
    )
    inside = tf.reduce_all((given >= 0) & (given < classes))
    return (_require(given, inside, f"labels must be from 0 to {classes - 1}; given"),)


def _require(value, condition, message):
    """`value`, which cannot be had before the condition has been checked."""
    with tf.control_dependencies([tf.debugging.Assert(condition, [message, value])]):
        return tf.identity(value)
