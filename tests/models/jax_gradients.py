"""Under KERAS_BACKEND=jax: both gradient functions against the recorded official ones.

`main(FOLDER)` compares with FOLDER/models_32.npz and fails at the first difference above
1e-4 * (1 + |recorded|).
"""

import json
import sys

import jax
import keras
import numpy as np

from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official.lada_names import discriminator_names, generator_names, load_official
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.step import discriminator_gradients, generator_gradients

DEAD_BIAS = "q_attn/bias"  # the softmax cancels it: its gradient is rounding noise


def assert_close(actual, expected, what):
    worst = np.max(np.abs(np.asarray(actual) - expected) / (1.0 + np.abs(expected)))
    assert worst <= 1e-4, f"{what}: {worst:.1e}"


def compare(gradients, network, names, arrays, prefix):
    positions = {id(v): i for i, v in enumerate(network.trainable_variables)}
    compared = 0
    for key, variable in names(network):
        expected = arrays.get(f"{prefix}/{key}")
        if expected is not None and DEAD_BIAS not in key:
            assert_close(gradients[positions[id(variable)]], expected, key)
            compared += 1
    assert compared == sum(k.startswith(prefix) and DEAD_BIAS not in k for k in arrays) > 0


def compiled(gradients, arguments, networks):
    """What `gradients` returns, as one program: operation by operation takes thrice as long."""
    state = [variable for network in networks for variable in network.variables]

    def program(values):
        with keras.StatelessScope(list(zip(state, values, strict=True))):
            return gradients(*arguments)

    return jax.jit(program)([variable.value for variable in state])


def main(folder):
    assert keras.backend.backend() == "jax" and not sys.modules.get("tensorflow")
    meta = json.loads((folder / "meta.json").read_text())
    config, step = meta["config"], meta["step"]
    with np.load(folder / "models_32.npz") as file:
        arrays = dict(file)
    generator = Generator(
        noise_dim=config["noise_dim"],
        widths=config["g_dim"],
        num_heads=config["g_heads"],
        mlp_widths=config["g_mlp"],
    )
    discriminator = Discriminator(
        widths=meta["d_enc_dim"]["32"],
        out_widths=config["d_out_dim"],
        num_heads=config["d_heads"],
        mlp_width=config["d_mlp"],
    )
    load_official(generator_names(generator), arrays)
    load_official(discriminator_names(discriminator), arrays)
    objective = LadaObjective(
        config["noise_dim"], loss=step["loss"], r1_weight=step["gp_weight"], policy=""
    )
    z = keras.ops.convert_to_tensor(arrays["in/z"])
    batch = {"real": keras.ops.convert_to_tensor(arrays["in/images"])}
    arguments = (objective, generator, discriminator, batch, {"z": z, "fake": {}, "real": {}})
    networks = (generator, discriminator)
    gradients, metrics = compiled(discriminator_gradients, arguments, networks)
    for name in ("d_loss", "d_total"):
        assert_close(metrics[name], arrays[f"loss/{name}"], name)
    compare(gradients, discriminator, discriminator_names, arrays, "grad_d_total")
    gradients, metrics = compiled(generator_gradients, arguments, networks)
    assert_close(metrics["g_loss"], arrays["loss/g_loss"], "g_loss")
    compare(gradients, generator, generator_names, arrays, "grad_g_loss")
