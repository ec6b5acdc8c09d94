"""GAT's step against arrays recorded from the official code (tests/golden/README.md).

Sizes come from config.json, so another set of the same layout passes unchanged:
pytest tests/test_parity_gat_step.py --fixtures-dir=DIR
"""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.official.gat import network_of, official_names
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.latent_views import add_noise, augment_stages, color_means, noise_levels
from ladagan_tf.training.optimizers import FusedAdam
from ladagan_tf.training.step import discriminator_gradients, generator_gradients

AUGMENTATION = {  # ours: theirs
    "colored": "color_u",
    "brightness": "bright_u",
    "saturation": "sat_u",
    "contrast": "cont_u",
    "shift_rows": "tx",
    "shift_columns": "ty",
    "cutout_row": "cx",
    "cutout_column": "cy",
    "flipped": "flip_u",
}


@pytest.fixture(scope="module")
def recorded(gat_dir):
    """Inputs and outputs of set A in one dict."""
    found = {}
    for name in ("A_inputs", "A_outputs"):
        with np.load(gat_dir / f"{name}.npz") as arrays:
            found |= dict(arrays)
    return found


def channels_last(array):
    """(..., C, H, W) to (..., H, W, C)."""
    return np.moveaxis(array, -3, -1)


def stages_of(levels):
    """Recorded levels (K, B, C, S, S) as ours, (B, S, S, K, C)."""
    return np.moveaxis(channels_last(levels), 0, 3)


def augmentation(recorded, prefix):
    return {ours: recorded[f"{prefix}_{theirs}"] for ours, theirs in AUGMENTATION.items()}


def noise(recorded, name):
    return stages_of(recorded[name][::-1])  # recorded in draw order, the cleanest level first


def test_noise_levels(gat_dir):
    with np.load(gat_dir / "units.npz") as units:
        np.testing.assert_allclose(noise_levels(len(units["mng_t"])), units["mng_t"], atol=1e-7)


@pytest.mark.parametrize("step", ["D", "G"])
@pytest.mark.parametrize("kind", ["gen", "real"])
def test_what_d_receives_after_augmentation_and_noise(recorded, step, kind):
    stages = stages_of(recorded["G_rgbs"])
    if kind == "real":
        latents = channels_last(recorded["real"])
        stages = np.repeat(latents[:, :, :, None], stages.shape[3], axis=3)
    draws = augmentation(recorded, f"{step}_aug_{kind}")
    augmented = augment_stages(stages, draws, color_means(stages[:, :, :, -1]))
    seen = add_noise(augmented, noise(recorded, f"{step}_mng_{kind}_noise"))
    np.testing.assert_allclose(seen, stages_of(recorded[f"{step}step_{kind}_in"]), atol=1e-5)


@pytest.mark.parametrize("penalty, kind", [("r1", "real"), ("r2", "gen")])
def test_perturbed_copies_share_augmentation_means_and_noise(recorded, penalty, kind):
    stages = stages_of(recorded["G_rgbs"])
    eps = recorded[f"D_{penalty}_eps"]
    if kind == "real":
        latents = channels_last(recorded["real"])
        stages = np.repeat(latents[:, :, :, None], stages.shape[3], axis=3)
        eps = channels_last(eps)[:, :, :, None]  # one draw for all copies
    else:
        eps = stages_of(eps)
    draws = augmentation(recorded, f"D_aug_{kind}")
    means = color_means(stages[:, :, :, -1])
    augmented = augment_stages(stages + 0.01 * eps, draws, means)
    seen = add_noise(augmented, noise(recorded, f"D_mng_{kind}_noise"))
    np.testing.assert_allclose(seen, stages_of(recorded[f"Dstep_{penalty}_in"]), atol=1e-5)


class Arrays:
    """The networks of set A with their recorded weights, and draws by their recorded names."""

    def __init__(self, gat_dir, recorded):
        self.gat_dir, self.recorded = gat_dir, recorded

    def network(self, which, **options):
        with np.load(self.gat_dir / f"A_weights_{which}.npz") as weights:
            return network_of(dict(weights), **options)

    def objective(self, generator, **changes):
        def teacher(batch, draws, size):
            return self.recorded["teacher_cls"], self.recorded["teacher_patch"]

        sizes = {"latent_size": generator.latent_size, "levels": generator.levels}
        return GatObjective(generator.noise_dim, **{**sizes, "teacher": teacher, **changes})

    def draws(self, phase, given, prefix="", z=None):
        """What the objective asks for, under the names of a recorded step."""
        views = {
            ours: {
                **augmentation(given, f"{prefix}{phase}_aug_{theirs}"),
                "noise": noise(given, f"{prefix}{phase}_mng_{theirs}_noise"),
            }
            for ours, theirs in (("fake", "gen"), ("real", "real"))
        }
        draws = {"z": given["z"] if z is None else z, **views}
        if phase == "D":
            r1 = channels_last(given[f"{prefix}D_r1_eps"])[:, :, :, None]
            draws |= {"r1": r1, "r2": stages_of(given[f"{prefix}D_r2_eps"])}
        return keras.tree.map_structure(ops.convert_to_tensor, draws)


@pytest.fixture(scope="module")
def arrays(gat_dir, recorded):
    return Arrays(gat_dir, recorded)


@pytest.fixture(scope="module")
def batch(recorded):
    latents = ops.convert_to_tensor(channels_last(recorded["real"]))
    labels = ops.convert_to_tensor(recorded["y"], "int32")
    return {"real": latents, "labels": labels, "raw": recorded["raw"]}


def assert_gradients(network, gradients, expected):
    """Relative L2 1e-3 per tensor; what is exactly 0 in the official code is noise here."""
    index = {id(v): g for v, g in zip(network.trainable_variables, gradients, strict=True)}
    checked = 0
    for name, view in official_names(network).items():
        if name not in expected or id(view.variable) not in index:
            continue
        theirs = np.transpose(expected[name], view.axes).reshape(view.variable.shape)
        ours = ops.convert_to_numpy(index[id(view.variable)])
        if name == "final_layer.1.bias":
            assert np.abs(ours).max() < 1e-6
            continue
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        assert error < 1e-3, (name, error)
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("teacher", [True, False])
def test_the_discriminators_loss_and_its_parts(arrays, batch, recorded, teacher):
    generator, discriminator = arrays.network("G"), arrays.network("D")
    changes = {} if teacher else {"teacher": None}
    objective = arrays.objective(generator, **changes)
    draws = arrays.draws("D", recorded)
    fake = objective.generate(generator, batch, draws)
    np.testing.assert_allclose(fake, stages_of(recorded["G_rgbs"]), atol=1e-4)
    loss, parts = objective.discriminator_loss(discriminator, batch, fake, draws)
    name = "Dstep_loss" if teacher else "Dstep_loss_noREPA"
    np.testing.assert_allclose(loss, recorded[name].mean(), atol=1e-4)
    for ours, theirs in (("d_loss", "disc"), ("r1", "r1"), ("r2", "r2")):
        weight = 1.0 if ours == "d_loss" else 0.05
        expected = weight * recorded[f"Dstep_{theirs}_loss"].mean()
        np.testing.assert_allclose(parts[ours], expected, atol=1e-4)
    if teacher:
        expected = (recorded["Dstep_z_kd_cls"] + recorded["Dstep_z_kd_patch"]).mean()
        np.testing.assert_allclose(parts["alignment"], expected, atol=1e-4)


def test_the_discriminators_gradients(arrays, batch, recorded, gat_dir):
    generator, discriminator = arrays.network("G"), arrays.network("D", trainable_positions=True)
    gradients, _ = discriminator_gradients(
        arrays.objective(generator), generator, discriminator, batch, arrays.draws("D", recorded)
    )
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
    np.testing.assert_allclose(norm, recorded["Dstep_grad_norm"], rtol=1e-3)
    with np.load(gat_dir / "A_grads_D.npz") as expected:
        assert_gradients(discriminator, gradients, dict(expected))


def test_the_generators_loss_gradients_and_mean_styles(arrays, batch, recorded, gat_dir):
    generator, discriminator = arrays.network("G", trainable_positions=True), arrays.network("D")
    np.testing.assert_allclose(generator.mean_style, recorded["w_avg_before"], atol=1e-6)
    objective, draws = arrays.objective(generator), arrays.draws("G", recorded)
    gradients, metrics = generator_gradients(objective, generator, discriminator, batch, draws)
    objective.update_statistics(generator, batch, draws, lambda sums: sums)
    np.testing.assert_allclose(metrics["g_loss"], recorded["Gstep_loss_mean"], atol=1e-4)
    np.testing.assert_allclose(generator.mean_style, recorded["w_avg_after"], atol=1e-5)
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
    np.testing.assert_allclose(norm, recorded["Gstep_grad_norm"], rtol=1e-3)
    with np.load(gat_dir / "A_grads_G.npz") as expected:
        assert_gradients(generator, gradients, dict(expected))


def test_the_exact_penalties_are_the_recorded_squared_norms(arrays, batch, recorded):
    generator, discriminator = arrays.network("G"), arrays.network("D", fused=False)
    objective = arrays.objective(generator, exact_penalties=True, teacher=None)
    fake = ops.convert_to_tensor(stages_of(recorded["G_rgbs"]))
    _, parts = objective.discriminator_loss(discriminator, batch, fake, arrays.draws("D", recorded))
    for name in ("r1", "r2"):
        expected = 0.05 * recorded[f"exact_{name}"].mean()
        np.testing.assert_allclose(parts[name], expected, rtol=1e-3)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("positions", ["trained", "frozen"])
def test_two_iterations_of_the_official_loop(arrays, recorded, gat_dir, positions):
    with np.load(gat_dir / "A_loop.npz") as stored:
        loop = dict(stored)
    trained = {"trainable_positions": positions == "trained"}
    generator, averaged = (arrays.network("G", **trained) for _ in range(2))
    discriminator = arrays.network("D", **trained)
    model = AdversarialModel(generator, discriminator, averaged, arrays.objective(generator))
    rates = [2e-4 * 768 / network.width for network in (generator, discriminator)]
    # Keras adds epsilon before the bias correction, PyTorch after it: at the first steps a tenth.
    adam = [FusedAdam(rate, 0.0, 0.99, epsilon=1e-9) for rate in rates]
    model.compile(*adam, ema_decay=0.999, clip_norm=1.0)
    prefix = "" if positions == "trained" else "frozenpe_"
    for i in range(2):
        given = {
            "real": ops.convert_to_tensor(channels_last(loop["real"][i])),
            "labels": ops.convert_to_tensor(loop["y"][i], "int32"),
            "raw": recorded["raw"],
        }
        draws = [arrays.draws(phase, loop, f"it{i}_", loop["z"][i]) for phase in "DG"]
        metrics = model.adversarial_step(given, *draws)
        for network, name in (("D", "d_total"), ("G", "g_loss")):
            expected = loop[f"{prefix}out_it{i}_{network}_loss"].mean()
            np.testing.assert_allclose(metrics[name], expected, atol=1e-3 if i else 1e-4)
    if positions == "frozen":
        return
    networks = {"G": generator, "D": discriminator, "EMA": averaged}
    for name, expected in loop.items():
        if name.startswith("out_final_"):
            which, parameter = name.removeprefix("out_final_").split("/")
            close = np.abs(official_names(networks[which])[parameter].array() - expected) < 1e-4
            assert close.mean() > 0.995, name
