"""The full LadaGAN step (R1, DiffAugment, Adam, EMA) under JAX: prints JSON.

    KERAS_BACKEND=jax python benchmarks/train_step_jax.py --preset=cifar10_32 --batch_size=128

Needs keras and jax, not TensorFlow: it is how the mathematics is run and measured on a GPU machine
that has only JAX.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import keras
import numpy as np

from ladagan_tf.cost import lada as lada_cost
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.sizes import PRESETS
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.step import (
    discriminator_gradients,
    generator_gradients,
    update_average,
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10_32", choices=list(PRESETS))
    parser.add_argument("--batch_size", type=int, default=128, help="images per step")
    parser.add_argument("--steps", type=int, default=20, help="timed steps per precision")
    parser.add_argument(
        "--precision", nargs="*", default=["float32", "mixed_bfloat16"], help="policies to time"
    )
    arguments = parser.parse_args()
    device = jax.devices()[0]
    results = [measure(arguments, precision) for precision in arguments.precision]
    document = {
        "preset": arguments.preset,
        "device": device.device_kind,
        "jax": jax.__version__,
        "keras": keras.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "variants": results,
    }
    print(json.dumps(document, indent=2))


def build(preset, precision):
    """Networks, EMA generator, optimizers and objective of a preset."""
    keras.utils.set_random_seed(0)
    sizes = {
        "resolution": preset.resolution,
        "widths": preset.widths,
        "decoder_widths": preset.decoder_widths,
        "dtype": precision,
    }
    generator, averaged = Generator(**sizes), Generator(**sizes)
    discriminator = Discriminator(preset.resolution, preset.discriminator_widths, dtype=precision)
    averaged.set_weights(generator.get_weights())
    optimizers = [keras.optimizers.Adam(2e-4, 0.5, 0.99, epsilon=1e-7) for _ in range(2)]
    for optimizer, network in zip(optimizers, (discriminator, generator), strict=True):
        optimizer.build(network.trainable_variables)
    return (
        generator,
        discriminator,
        averaged,
        *optimizers,
        LadaObjective(resolution=preset.resolution),
    )


def make_step(generator, discriminator, averaged, d_optimizer, g_optimizer, objective):
    """The step as a pure compiled function, and its initial state.

    Returns:
        `step(values, images, key, number) -> (values, metrics)` with donated values, and values.
    """
    state = [
        *generator.weights,
        *discriminator.weights,
        *averaged.weights,
        *d_optimizer.variables,
        *g_optimizer.variables,
    ]

    def step(values, images, key, number):
        keys = jax.random.split(jax.random.fold_in(key, number))
        batch = {"real": images.astype(jnp.float32) / 127.5 - 1.0}
        with keras.StatelessScope(list(zip(state, values, strict=True))) as scope:
            draws = sample(objective.discriminator_draws(), len(images), keys[0])
            gradients, metrics = discriminator_gradients(
                objective, generator, discriminator, batch, draws
            )
            d_optimizer.apply(gradients, discriminator.trainable_variables)
            draws = sample(objective.generator_draws(), len(images), keys[1])
            gradients, more = generator_gradients(objective, generator, discriminator, batch, draws)
            g_optimizer.apply(gradients, generator.trainable_variables)
            update_average(averaged, generator, 0.999)
        return [scope.get_current_value(v) for v in state], {**metrics, **more}

    return jax.jit(step, donate_argnums=0), [jnp.array(v) for v in state]


def sample(specification, count, key):
    """Draws what an objective asks for."""
    flat = keras.tree.flatten(specification)
    drawn = []
    for draw, k in zip(flat, jax.random.split(key, len(flat)), strict=True):
        shape = (count, *draw.shape)
        if draw.kind == "normal":
            drawn.append(jax.random.normal(k, shape))
        elif draw.kind == "uniform":
            drawn.append(jax.random.uniform(k, shape))
        else:
            drawn.append(jax.random.randint(k, shape, draw.low, draw.high))
    return keras.tree.pack_sequence_as(specification, drawn)


def measure(arguments, precision):
    preset = PRESETS[arguments.preset]
    parts = build(preset, precision)
    step, values = make_step(*parts)
    size = preset.resolution
    images = np.random.default_rng(0).integers(
        0, 256, (arguments.batch_size, size, size, 3), dtype=np.uint8
    )
    images, key = jnp.array(images), jax.random.key(0)
    seconds = []
    for number in range(arguments.steps + 3):
        start = time.perf_counter()
        values, metrics = step(values, images, key, number)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    seconds = statistics.median(seconds[3:])
    macs = lada_cost.training_multiply_adds(parts[0], parts[1])
    rate, matmul = macs * arguments.batch_size / seconds, matmul_rate()
    memory = jax.devices()[0].memory_stats() or {}
    return {
        "precision": precision,
        "batch_size": arguments.batch_size,
        "train_images_per_s": round(arguments.batch_size / seconds, 1),
        "peak_memory_gb": round(memory["peak_bytes_in_use"] / 1e9, 2) if memory else None,
        "multiply_adds_per_s": round(rate),
        "bfloat16_matmul_multiply_adds_per_s": round(matmul),
        "share_of_bfloat16_matmul_rate": round(rate / matmul, 3),
        "metrics_of_the_last_step": {name: float(value) for name, value in metrics.items()},
    }


def matmul_rate():
    """Multiply-adds per second of a large bfloat16 matrix product on this device."""
    size = 1024 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(1), (size, size), jnp.bfloat16)
    product = jax.jit(lambda a: a @ a)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return size**3 / statistics.median(seconds[3:])


if __name__ == "__main__":
    main()
