"""Draws are a function of seed, step and phase, with the distributions that are asked for."""

import keras
import numpy as np
import pytest

from ladagan_tf.training.draws import Draw

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("AdversarialModel needs the TensorFlow backend", allow_module_level=True)

from ladagan_tf.training.model import draw_keys, sample_draws  # noqa: E402

SPECIFICATION = {
    "z": Draw.normal(5),
    "u": Draw.uniform(),
    "nested": {"i": Draw.integers(-2, 3), "u": Draw.uniform()},
}


def drawn(count=1000, seed=0, step=0, phase=0, **kwargs):
    step = tf.constant(step, tf.int64)
    values = sample_draws(SPECIFICATION, count, seed, step, phase, **kwargs)
    return keras.tree.map_structure(np.asarray, values)


def test_draws_are_a_function_of_seed_step_and_phase():
    keras.tree.map_structure(np.testing.assert_array_equal, drawn(), drawn())
    for other in ({"seed": 1}, {"step": 1}, {"phase": 1}):
        for a, b in zip(
            keras.tree.flatten(drawn()), keras.tree.flatten(drawn(**other)), strict=True
        ):
            assert np.mean(a == b) < 0.5
    assert np.all(drawn()["u"] != drawn()["nested"]["u"])


def test_keys_have_64_bits_and_those_of_older_runs_32():
    steps = [tf.constant(step, tf.int64) for step in range(200)]
    for bits, most in ((64, 2**63), (32, 2**31)):
        keys = np.array([draw_keys(3, step, [1024], bits)[0] for step in steps])
        assert (keys[:, 1] == 1024).all() and len(set(keys[:, 0])) == 200
        assert most / 2 < np.abs(keys[:, 0].astype(float)).max() < most
    assert np.mean(drawn()["z"] == drawn(key_bits=32)["z"]) < 0.5


def test_a_key_is_seed_step_and_stream_folded_one_after_the_other():
    step = tf.constant(12345, tf.int64)
    for words, bits in ((tf.int64, 64), (tf.int32, 32)):
        for stream, key in zip((0, 7, 2050), draw_keys(9, step, (0, 7, 2050), bits), strict=True):
            folded = tf.random.fold_in([9, 0], step)
            np.testing.assert_array_equal(key, tf.random.fold_in(folded, tf.cast(stream, words)))


def test_every_seed_up_to_63_bits_has_draws_of_its_own():
    seeds = (0, 2**31, 2**32, 2**32 + 1, 2**63 - 1)
    drawn_by = [drawn(seed=seed)["z"] for seed in seeds]
    assert len({values.tobytes() for values in drawn_by}) == len(seeds)
    assert all(abs(values.std() - 1.0) < 0.05 for values in drawn_by)


def test_shapes_are_known_in_a_graph_but_for_a_count_that_is_not():
    known = {}

    @tf.function
    def draws(count):
        for of, value in (("tensor", count), ("int", 7)):
            made = sample_draws(SPECIFICATION, value, 0, tf.constant(0, tf.int64), 0)
            known[of] = [x.shape.as_list() for x in keras.tree.flatten(made)]
        return made

    draws(tf.constant(3))
    assert sorted(known["int"]) == [[7], [7], [7], [7, 5]]
    assert sorted(known["tensor"], key=len) == [[None], [None], [None], [None, 5]]


def test_draws_have_the_shapes_types_and_ranges_asked_for():
    values = drawn(20000)
    z, u, i = values["z"], values["u"], values["nested"]["i"]
    assert (z.shape, u.shape, i.shape) == ((20000, 5), (20000,), (20000,))
    assert (z.dtype, u.dtype, i.dtype) == (np.float32, np.float32, np.int32)
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    assert 0 <= u.min() < 0.001 and 0.999 < u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    shares = np.unique_counts(i)
    np.testing.assert_array_equal(shares.values, [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(shares.counts / 20000, 0.2, atol=0.02)
