"""What decoding costs is what the traced graph multiplies."""

import numpy as np
import pytest
from traced_products import multiply_adds

from ladagan_tf.cost.gat import decoder_multiply_adds
from ladagan_tf.cost.sample import decoded_report
from ladagan_tf.models.vae.autoencoder import AutoencoderKL


@pytest.mark.parametrize(("widths", "resnets"), [((8, 8), 1), ((4, 12, 8), 2)])
def test_multiply_adds_are_those_of_the_traced_decoder(widths, resnets):
    vae = AutoencoderKL(widths=widths, resnets=resnets, groups=4)
    assert decoder_multiply_adds(vae, 8) == multiply_adds(vae.decode, (1, 8, 8, 4))


def test_the_report_counts_generator_decoder_and_encoder_apart(tiny_gat):
    text = decoded_report(tiny_gat)
    vae = tiny_gat.vae
    decoder = [w for w in vae.weights if "decoder" in w.path or "post_quant" in w.path]
    counts = [sum(int(np.prod(w.shape)) for w in part) for part in (vae.weights, decoder)]
    for shown in (tiny_gat.generator.count_params(), counts[1], counts[0] - counts[1]):
        assert f"{shown:,} parameters" in text
