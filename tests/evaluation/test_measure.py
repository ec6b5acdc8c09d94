"""Metrics are asked for by name, refused where they are not defined, and not mixed up."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import measure, metrics
from ladagan_tf.evaluation.collection import Collected, sampled_rows
from ladagan_tf.evaluation.measure import check_metrics, metric_name, needs


def collected(features):
    features = np.float32(features)
    logits = np.stack([features[:, 0], -features[:, 0]], 1)
    return Collected(
        count=len(features),
        mean=features.mean(0, dtype=np.float64),
        covariance=np.cov(features.T.astype(np.float64)),
        class_counts=np.bincount(logits.argmax(1), minlength=2),
        features=features,
        logits=logits,
    )


@pytest.fixture
def sets():
    """Real: two distant clusters. Generated: all in the first, none in the second."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(40, 4))
    real[20:, 0] += 100
    return collected(real[rng.permutation(40)]), collected(rng.normal(size=(40, 4)) * 0.3)


def test_swapping_real_and_generated_would_show(sets):
    real, generated = sets
    found = {m.metric: m.value for m in measure.measure(["prdc"], generated, real)}
    assert found["precision"] > 0.9, "all that is generated is real-like"
    assert found["recall"] < 0.6 and found["coverage"] <= 0.5, "half of the real is missing"
    both = found["precision"], found["recall"]
    assert found["f_score"] == pytest.approx(2 * both[0] * both[1] / sum(both))


@pytest.mark.parametrize("names", [["authenticity"], ["prdc", "authenticity"]])
def test_copies_are_found_whatever_else_is_measured(sets, names):
    real, generated = sets
    generated.features = np.concatenate([real.features[:10], real.features[:30] + 1e4])
    found = {m.metric: m for m in measure.measure(names, generated, real)}["authenticity"]
    assert (found.value, found.lower_is_better) == (0.75, False)


def test_copies_are_found_of_however_many_reals(sets, monkeypatch):
    real, generated = sets
    monkeypatch.setattr(measure, "REALS", 5)
    assert measure.needs(["authenticity"], real=True).features > 10**6
    generated.features = real.features[:]
    (found,) = measure.measure(["authenticity"], generated, real)
    assert (found.value, found.reals) == (0.0, None)


def test_modes_are_counted_among_the_real_classes(sets):
    real, generated = sets
    generated.class_counts = np.array([40, 0])
    (found,) = measure.measure(["modes"], generated, real)
    assert (found.value, found.details["classes"]) == (1, 2)
    assert found.details["total_variation"] == pytest.approx(0.5, abs=0.3)


def test_the_subset_protocol_joins_kid_from_1000_images_on(monkeypatch):
    monkeypatch.setattr(measure, "SUBSETS", 2)
    rng = np.random.default_rng(0)
    few, many = (collected(rng.normal(size=(n, 4))) for n in (999, 1000))
    assert [m.metric for m in measure.measure(["kid"], few, many)] == ["kid"]
    assert [m.metric for m in measure.measure(["kid"], many, many)] == ["kid", "kid_subsets"]


def test_many_reals_are_compared_as_a_drawn_part_that_the_number_tells(sets, monkeypatch):
    real, generated = sets
    everything = measure.measure(["prdc", "kid"], generated, real)
    assert all(m.reals is None for m in everything), "no part of few"
    monkeypatch.setattr(measure, "REALS", 30)
    real.nearest = None
    part = collected(real.features[sampled_rows(40, 30)])
    expected = measure.measure(["prdc", "kid"], generated, part)
    for engine in ("ours", "tfgan"):
        found = measure.measure(["prdc", "kid"], generated, real, engine)
        assert [m.reals for m in found] == [30] * len(found)
        np.testing.assert_allclose([m.value for m in found], [m.value for m in expected], rtol=1e-4)
    assert needs(["kid"], real=True).features == 30
    assert needs(["kid", "fid"], real=True, engine="tfgan").features == measure.ALL
    assert needs(["kid"], real=False).features == measure.ALL


def test_the_radii_of_the_reals_are_computed_once(sets, monkeypatch):
    real, generated = sets
    computed, compute = [], metrics.nearest_squared

    def counted(features, *arguments):
        computed.append(features is real.features or features.shape == real.features.shape)
        return compute(features, *arguments)

    generated.features = generated.features[:30]
    monkeypatch.setattr(metrics, "nearest_squared", counted)
    for _ in range(3):
        measure.measure(["prdc"], generated, real)
    assert sum(computed) == 1


def test_a_number_that_is_not_finite_is_none(sets, monkeypatch):
    monkeypatch.setattr(measure, "frechet_distance", lambda *_: float("nan"))
    with pytest.raises(InputError, match="fid is nan, not a finite number"):
        measure.measure(["kid", "fid"], *sets)


def test_an_estimate_grows_with_the_pairs_and_is_none_without_any():
    assert measure.estimate(["fid", "is"], 50_000, 1_281_167, 2048) == (0.0, 0.0)
    seconds, size = measure.estimate(["prdc"], 50_000, 1_281_167, 64)
    few_seconds, few_size = measure.estimate(["prdc"], 1_000, 1_000, 64)
    assert seconds > 100 * few_seconds > 0 and size > few_size > 0
    assert size < 1e9, "what is compared is bounded"


def test_both_engines_agree(sets):
    real, generated = sets
    for name in ("fid", "kid"):
        ours, theirs = (
            measure.measure([name], generated, real, engine)[0].value
            for engine in ("ours", "tfgan")
        )
        assert theirs == pytest.approx(ours, rel=1e-4)


@pytest.mark.parametrize(
    "names, extractor, message",
    [
        (["lpips"], "inception", "metrics=lpips: give fid, sfid, fcd"),
        (["ppl"], None, "ppl is not defined with features=none"),
        (["fid"], "classifier", "fid is not defined with features=classifier"),
        (["fcd"], "inception", "fcd is not defined with features=inception"),
        (["kid"], None, "kid is not defined with features=none"),
    ],
)
def test_what_is_not_defined_is_one_line(names, extractor, message):
    with pytest.raises(InputError, match=message):
        check_metrics(names, extractor)


def test_moments_alone_give_no_metric_that_needs_images():
    assert check_metrics([], "inception", real_has_images=False) == ("fid",)
    with pytest.raises(InputError, match="kid needs the reference's images"):
        check_metrics(["kid"], "inception", real_has_images=False)


def test_banks_are_asked_for_only_where_a_metric_needs_them():
    assert needs(["fid"], real=True) == needs(["modes"], real=False) == measure.Needs()
    assert needs(["fid"], real=True, engine="tfgan").features
    assert needs(["is"], real=False).logits and not needs(["is"], real=True).logits
    assert needs(["swd"], real=True).patches


def test_a_name_tells_features_and_numbers_of_images():
    assert metric_name("fid", "inception", 5000) == "fid_inception_5k"
    assert metric_name("fid", "inception", 50000, 19962) == "fid_inception_50k_vs_19962"
    assert metric_name("swd", "inception", 2000) == "swd_2k"
    assert metric_name("fid", "inception", 50000, None) == "fid_inception_50k"
