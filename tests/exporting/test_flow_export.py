"""A flow is exported with its sampler: a loop in the file, as long as it was asked for."""

from importlib.util import find_spec

import numpy as np
import pytest
from in_process import command
from small_generators import perturbed

from ladagan_tf import export
from ladagan_tf.errors import InputError
from ladagan_tf.flags import export as export_flags
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.sampling import opening
from ladagan_tf.sampling.sampler import of_network

SIZES = {"latent_size": 8, "patch": 4, "width": 16, "depth": 1, "num_heads": 2, "num_classes": 3}


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")  # the live ones, not what is in the files
def test_every_file_samples_in_the_steps_that_were_asked_for(tmp_path, monkeypatch):
    """The export compares each file with the live model before it is kept."""
    network, out = perturbed(FlowGenerator(**SIZES)), tmp_path / "out"
    network.save(tmp_path / "flow.keras")
    monkeypatch.setattr("ladagan_tf.exporting.formats.BATCHES", (2,))
    monkeypatch.setattr("ladagan_tf.exporting.formats.COLUMNS", 2)
    formats = ["saved_model", "keras", *["onnx"] * bool(find_spec("tf2onnx"))]
    with command(export, export_flags.define) as call:
        call(
            f"--model={tmp_path / 'flow.keras'}",
            "--sampler=euler",
            "--sampler_steps=3",
            f"--format={','.join(formats)}",
            f"--out={out}",
        )
    live = of_network(network, sampler="euler", sampler_steps=3)
    z, labels = live.latents(range(5)), np.int32([0, 1, 2, 0, 1])
    expected = np.asarray(live.network(z, labels))
    for file in ("saved_model", "generator.keras"):
        opened = opening.open_model(out / file)
        assert (opened.noise_dim, opened.num_classes) == (192, 3)
        np.testing.assert_allclose(opened.generate(z, labels), expected, rtol=1e-5, atol=1e-5)
    assert (opened.about["sampler"], opened.about["sampler_steps"]) == ("euler", 3)
    other = of_network(network, sampler_steps=5).network
    assert not np.allclose(other(z, labels), expected, atol=1e-3)
    assert "in 3 steps by euler" in " ".join((out / "README.md").read_text().split())
    with pytest.raises(
        InputError, match="sampler_steps=4: a SavedModel samples as it was exported"
    ):
        opening.open_model(out / "saved_model", sampler_steps=4)
