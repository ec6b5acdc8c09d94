"""Metrics as functions: whatever images come in, numbers are those of the features."""

import inspect

import numpy as np
import pytest

from ladagan_tf import evaluation
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import collection, frechet, images, metrics, protocol
from ladagan_tf.evaluation.features import classifier, open_extractor
from ladagan_tf.sampling.sampler import of_function


@pytest.fixture
def pair():
    """Two uint8 arrays, real and generated."""
    rng = np.random.default_rng(0)
    return tuple(
        rng.integers(0, top, (n, 16, 16, 3), np.uint8) for top, n in ((256, 40), (200, 30))
    )


def bank(array):
    """Mean grey levels of each channel, the features of `means`."""
    return array.mean(axis=(1, 2))


def test_functions_of_arrays_are_the_metrics_of_their_features(pair, means):
    real, generated = map(bank, pair)
    moments = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (real, generated)]
    found = evaluation.frechet_distance(*pair, means)
    assert found == pytest.approx(frechet.frechet_distance(*moments[0], *moments[1]), rel=1e-4)
    assert evaluation.kernel_distance(*pair, means) == pytest.approx(
        metrics.kernel_distance(real, generated), rel=1e-3
    )
    assert evaluation.precision_recall(*pair, means) == metrics.precision_recall(real, generated)
    assert evaluation.density_coverage(*pair, means).coverage == pytest.approx(
        metrics.density_coverage(real, generated)[1]
    )
    assert evaluation.sliced_wasserstein_distance(*pair) > 0
    assert evaluation.inception_score(pair[0], means) >= 1.0


@pytest.mark.parametrize(
    "names, found",
    [((name for name in ["swd"]), ["swd"]), (None, ["fcd", "is", "prdc", "modes", "swd"])],
)
def test_metrics_are_any_names_or_none(pair, means, monkeypatch, names, found):
    asked = []
    monkeypatch.setattr(protocol, "evaluate", lambda _, __, ___, names, **____: asked.extend(names))
    evaluation.evaluate(*pair, names, means)
    assert asked == found


def test_files_prepared_sets_and_arrays_of_the_same_images_are_the_same(
    two_tone, means, pair, tmp_path
):
    everything = np.concatenate(list(images.prepared(two_tone).batches(200)))
    np.savez(tmp_path / "same.npz", arr_0=everything)
    for real in (everything, two_tone, str(tmp_path / "same.npz"), images.prepared(two_tone)):
        assert evaluation.frechet_distance(real, everything, means) < 1e-6
    part = evaluation.frechet_distance(f"{two_tone}[:60]", pair[1], means)
    assert part == pytest.approx(evaluation.frechet_distance(everything[:60], pair[1], means))
    moments = {"mu": bank(everything).mean(axis=0), "sigma": np.cov(bank(everything).T)}
    np.savez(tmp_path / "moments.npz", **moments)
    assert evaluation.frechet_distance(tmp_path / "moments.npz", everything, means) < 1e-4


def test_a_generator_may_be_a_sampler_or_any_function_of_latents(noise, means, pair):
    records = evaluation.evaluate(pair[0], noise, ["fcd", "swd"], means)
    assert [r["name"] for r in records] == ["fcd_classifier_40_vs_40", "swd_40_vs_40"]
    assert records[0]["protocol"]["generated"]["model"] == "noise"

    def generate(z):
        assert isinstance(z, np.ndarray) and z.dtype == np.float32
        return np.asarray(noise.generate(z), np.float64)

    generate.noise_dim = 3
    (same,) = evaluation.evaluate(pair[0], generate, "fcd", means)
    assert same["value"] == pytest.approx(records[0]["value"], rel=1e-6)
    assert same["protocol"]["generated"]["model"] == "generate"
    assert evaluation.perceptual_path_length(generate, means, count=4) == pytest.approx(
        evaluation.perceptual_path_length(noise, means, count=4), rel=1e-3
    )
    assert evaluation.frechet_distance(noise, generate, means, count=20) < 1e-6


def test_images_of_a_generator_are_no_reference_to_keep(noise, means, tmp_path):
    """They are known by names, and others may have the same."""
    for _ in range(2):
        made = images.generated(noise, 4)
        _, cached = collection.reference(made, means, collection.Needs(), cache_dir=tmp_path)
        assert not cached and not list(tmp_path.iterdir())


def test_a_model_of_the_zoo_brings_its_classifier_and_its_reference():
    real = collection.open_real("zoo:shapes")
    extractor = open_extractor("auto", dataset="zoo:shapes")
    assert real.about["statistics"] == "zoo:shapes" and real.count == 10_000
    assert extractor.about["file"] == "zoo:shapes" and extractor.dimension == len(real.mean)
    for open_it in (collection.open_real, classifier):
        with pytest.raises(InputError, match="=zoo:shape: the zoo has no such model"):
            open_it("zoo:shape")
    with pytest.raises(InputError, match="dataset=zoo:shapes: these metrics need its images"):
        collection.open_real("zoo:shapes", with_images=True)


def test_statistics_of_the_zoo_are_of_their_own_classifier_s_features(pair, means):
    with pytest.raises(InputError, match="the statistics of zoo:shapes are of another network"):
        evaluation.evaluate("zoo:shapes", pair[1], "fcd", means)


def test_what_is_neither_images_nor_a_generator_is_one_line(pair, means, tmp_path):
    real, generated = pair
    for wrong, message in (
        (generated / 255.0, r"images=an array: float64 of shape \(30, 16, 16, 3\); give uint8"),
        (generated[..., 0], r"of shape \(30, 16, 16\); give uint8"),
        (generated[:, :0, :0], r"of shape \(30, 0, 0, 3\); give uint8"),
        (generated[:1], "it needs at least 2 generated images; there are 1"),
        (tmp_path / "nothing", "nothing: not found"),
        ("zoo:nothing", "the zoo has no such model"),
        (lambda z: z, "a function with an attribute noise_dim"),
        (3, "generator=3: give a keras.Model"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.evaluate(real, wrong, "fcd", means)
    for name, value in (
        ("count", 2.5),
        ("count", 0),
        ("count", True),
        ("batch_size", -1),
        ("batch_size", "3"),
    ):
        with pytest.raises(InputError, match=f"^{name}={value}: give a whole number, 1 or more"):
            evaluation.evaluate(real, generated, "fcd", means, **{name: value})
    with pytest.raises(InputError, match="metrics=fid is not defined with features=classifier"):
        evaluation.evaluate(real, generated, "fid", means)
    for features, message in (
        ("classifier", "there is no prepared set; give classifier:FILE"),
        ("none", "features=none: this distance is of features"),
        (3, "features=3: give a name, as inception, or an Extractor"),
    ):
        with pytest.raises(InputError, match=message):
            evaluation.frechet_distance(real, generated, features)
    for num_classes in (2.5, -1, "a"):
        with pytest.raises(InputError, match=f"^num_classes={num_classes}: give a whole number"):
            of_function(lambda z, labels: z, 4, num_classes)
    for noise_dim in (0, "a", True):
        with pytest.raises(InputError, match=f"^noise_dim={noise_dim}: give a whole number"):
            of_function(lambda z: z, noise_dim)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda z: np.zeros((len(z), 3, 8, 8)), r"toy: it makes images of shape \(2, 3, 8, 8\)"),
        (lambda z: np.zeros((len(z), 8, 8, 3), np.uint8), "toy: its images are uint8"),
        (lambda z: np.full((len(z), 8, 8, 3), z[:, :1, None, None] * 99), "nominally in"),
    ],
)
def test_a_function_of_other_images_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        of_function(make, 4, name="toy")


def test_the_package_offers_its_functions_by_name():
    for name in evaluation._OFFERED:
        assert name in dir(evaluation) and inspect.isfunction(getattr(evaluation, name))
    with pytest.raises(AttributeError, match=r"'ladagan_tf.evaluation' has no attribute 'fid'"):
        evaluation.fid  # noqa: B018 - asked for
