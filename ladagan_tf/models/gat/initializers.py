"""How GAT starts (official code, `initialize_weights` of both networks)."""

import keras

LAYER_SCALE = 0.1  # of each of the discriminator's branches, per channel
MODULATION_GAIN = 0.1  # of what the style scales and gates by: blocks start near the identity


def xavier(gain=1.0):
    """Uniform with variance gain^2 * 2 / (inputs + outputs)."""
    return keras.initializers.VarianceScaling(gain**2, "fan_avg", "uniform")


def linear(units, dtype, name, gain=1.0):
    """A dense layer as GAT initialises it: Xavier uniform kernel, zero bias.

    Args:
        units: int, outputs.
        dtype, name: see `keras.layers.Dense`.
        gain: float, of `xavier`.
    """
    return keras.layers.Dense(units, kernel_initializer=xavier(gain), dtype=dtype, name=name)


def normal():
    """N(0, 0.02), of class vectors and of the cls token."""
    return keras.initializers.RandomNormal(stddev=0.02)
