"""GAT's mapping from noise and class to styles: formula, truncation, guidance, mean styles."""

import numpy as np
import pytest
from gat_in_numpy import C, affine, assert_close, number, rms_norm, silu
from keras import ops

from ladagan_tf.models.gat.mapping import Mapping


@pytest.fixture
def mapping(built):
    layer = built(Mapping(5, 6, C, dtype="float64"), (None, 6), (None,))
    for weight in layer.trainable_weights[1:]:  # the two slow layers store a hundredfold
        weight.assign(100 * number(weight))
    return layer


@pytest.fixture
def noise(rng):
    return rng.standard_normal((4, 6))


LABELS = np.array([3, 1, 3, 0])


def mapping_in_numpy(layer, z, labels):
    rows = rms_norm(number(layer.classes.table)[labels], 1e-8)
    hidden = 0.01 * affine(layer.hidden, np.concatenate([rows, rms_norm(z, 1e-8)], axis=-1))
    return 0.01 * affine(layer.output_layer, silu(hidden))


def test_style_is_the_formula_class_before_noise(mapping, noise):
    assert_close(mapping(noise, LABELS), mapping_in_numpy(mapping, noise, LABELS))


def test_psi_one_is_no_truncation_and_psi_zero_the_classes_mean(mapping, noise):
    style, mean = number(mapping(noise, LABELS)), number(mapping.mean_style)[LABELS]
    np.testing.assert_array_equal(mapping(noise, LABELS, psi=1.0), style)
    np.testing.assert_array_equal(mapping(noise, LABELS, psi=0.0), mean)
    for psi in (0.7, ops.convert_to_tensor(0.7, "float64")):
        assert_close(mapping(noise, LABELS, psi=psi), 0.7 * style + 0.3 * mean)


def test_guidance_leads_away_from_the_mean_over_all_classes(mapping, noise):
    style = number(mapping(noise, LABELS))
    centre = np.mean([mapping_in_numpy(mapping, noise, np.full(4, c)) for c in range(5)], axis=0)
    np.testing.assert_array_equal(mapping(noise, LABELS, guidance=1.0), style)
    assert_close(mapping(noise, LABELS, guidance=1.5), centre + 1.5 * (style - centre))
    assert_close(mapping(noise, LABELS, guidance=0.0), centre)


def test_official_guidance_knows_only_the_sign_of_the_noise(mapping, noise):
    official = Mapping.from_config({**mapping.get_config(), "official_guidance": True})
    official.build((None, 6), (None,))
    official.set_weights(mapping.get_weights())
    centres = [number(official(z, LABELS, guidance=0.0)) for z in (noise, 3 * abs(noise) - noise)]
    assert np.max(np.abs(centres[0] - centres[1])) > 0.01
    assert_close(centres[0], official(2 * noise + np.sign(noise), LABELS, guidance=0.0))


def test_mean_style_moves_by_class_and_only_where_there_are_samples(mapping, rng):
    styles, old = rng.standard_normal((4, C)), number(mapping.mean_style)
    new = number(mapping.updated_mean_style(ops.convert_to_tensor(styles), LABELS))
    expected = old.copy()
    for label, mean in ((3, (styles[0] + styles[2]) / 2), (1, styles[1]), (0, styles[3])):
        expected[label] = 0.995 * old[label] + 0.005 * mean
    assert_close(new, expected, 1e-7)
    np.testing.assert_array_equal(new[[2, 4]], old[[2, 4]])
    np.testing.assert_array_equal(mapping.mean_style, old)


def test_mean_style_starts_at_zero_and_is_not_trained():
    layer = Mapping(5, 6, C)
    layer.build((None, 6), (None,))
    assert np.all(number(layer.mean_style) == 0)
    assert [w.name for w in layer.non_trainable_weights] == ["mean_style"]
