"""Numbers against an oracle computed by other people's libraries (tests/golden/README.md).

One file, because one command checks another set of the same layout:
pytest tests/test_oracle.py --fixtures-dir=DIR
"""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from rule_weights import crc32, rule_weights

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import metrics
from ladagan_tf.evaluation.frechet import frechet_distance
from ladagan_tf.evaluation.statistics import Moments
from ladagan_tf.models.features.inception import Inception, resize_bilinear_tf1
from ladagan_tf.weights.inception_weights import canonical, graph_names
from ladagan_tf.weights.reading import read_weights

# --------------------------------------------------------------------------------- Inception

SIZES = (32, 64)
TAPS = ("64", "192", "768", "2048", "logits_unbiased", "logits")
GEOMETRIES = ("48x40", "331x307", "299x299", "600x450")


@pytest.fixture(scope="module")
def stored(oracle_dir):
    with np.load(oracle_dir / "inception.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def rule(oracle_dir):
    """The rule's 472 tensors, proven by their checksums to be the oracle's."""
    tensors = json.loads((oracle_dir / "names.json").read_text())["inception"]["tensors"]
    weights = rule_weights({name: tuple(t["shape"]) for name, t in tensors.items()}, gain=2.0)
    assert {name: crc32(w) for name, w in weights.items()} == {
        name: t["crc32"] for name, t in tensors.items()
    }
    return weights


@pytest.fixture(scope="module")
def network(rule):
    network = Inception()
    network.load_tensors(rule)
    return network


@pytest.fixture(scope="module")
def features(network, stored):
    """`features[size]`: every tap of the stored images, of one size in graph mode."""
    compute = dict(zip(SIZES, (network, tf.function(network, autograph=False)), strict=True))
    return {size: compute[size](stored[f"images_{size}"]) for size in SIZES}


def close(actual, expected, atol):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tap", TAPS)
def test_inception_features_are_the_oracles(features, stored, tap, size):
    close(features[size][tap], stored[f"feat_{tap}_{size}"], atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_the_half_pixel_resize_of_pytorch_fid_shows(features, stored, size):
    difference = np.abs(features[size]["2048"] - stored[f"pytorchfid_2048_{size}"])
    assert 1e-3 < np.max(difference) < 2e-2


def test_inception_compiled_by_xla_agrees(network, stored):
    """The stages that hold every kind of operation; the others repeat them."""
    images, last = stored["images_32"][:1], "Mixed_6a"

    @functools.partial(tf.function, jit_compile=True, autograph=False)
    def compiled():
        return next(x for name, x in network.stages(images) if name == last)

    x = compiled()[0].numpy()
    close(x.mean((0, 1)), stored[f"stage_mean_{last}"], atol=1e-4)
    sample = x.ravel()[np.linspace(0, x.size - 1, 256).astype("int64")]
    close(sample, stored[f"stage_sample_{last}"], atol=1e-4)


def test_inception_stages_are_the_oracles(network, stored):
    stages = list(network.stages(stored["images_32"][:1]))
    assert [name for name, _ in stages] == stored["stage_names"].tolist()
    for name, activation in stages:
        x = activation[0].numpy()
        assert x.shape == tuple(stored[f"stage_shape_{name}"])
        close(x.mean((0, 1)), stored[f"stage_mean_{name}"], atol=1e-5)
        sample = x.ravel()[np.linspace(0, x.size - 1, 256).astype("int64")]
        close(sample, stored[f"stage_sample_{name}"], atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_resized_images_have_the_oracles_bits(stored, size):
    image = tf.cast(stored[f"images_{size}"][:1], tf.float32)
    resized = resize_bilinear_tf1(image, 299, 299)[0].numpy()
    same = np.testing.assert_array_equal
    same(resized[::7, ::7], stored[f"resize299_{size}_0_stride7"])
    same(resized[-16:, -16:], stored[f"resize299_{size}_0_corner"])
    scaled = (resized - 128) * np.float32(0.0078125)
    same(scaled[::7, ::7], stored[f"scaled299_{size}_0_stride7"])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_resizing_any_geometry_has_the_oracles_bits(stored, geometry):
    height, width = map(int, geometry.split("x"))
    y, x, c = np.ogrid[:height, :width, :3]
    image = (7 * y + 13 * x + 29 * c + (y * x) // 17 + stored["resizegeo_offset"]) % 256
    resized = resize_bilinear_tf1(tf.constant(image[None], tf.float32), 299, 299)[0].numpy()
    np.testing.assert_array_equal(resized[::13, ::13], stored[f"resizegeo_{geometry}_stride13"])
    np.testing.assert_array_equal(resized[-8:, -8:], stored[f"resizegeo_{geometry}_corner"])


def test_the_small_graphs_constants_get_pytorchs_names_and_layout(oracle_dir):
    constants = read_weights(oracle_dir / "formats" / "tiny_inception_like.pb")
    tensors = canonical(constants)
    assert len(tensors) == 12  # two convolutions of five tensors, and the head's two
    kernel = tensors["Mixed_7b.branch3x3_2a.conv.weight"]
    hwio = constants["mixed_9/tower/mixed/conv/conv2d_params"]
    np.testing.assert_array_equal(kernel, hwio.transpose(3, 2, 0, 1))
    np.testing.assert_array_equal(tensors["fc.weight"], constants["softmax/weights"].T)
    assert tensors.keys() <= set(graph_names().values())


# ----------------------------------------------------------------------------------- metrics

NEIGHBOUR_METRICS = ("precision", "recall", "density", "coverage")


@pytest.fixture(scope="module")
def oracle(oracle_dir):
    with np.load(oracle_dir / "metrics.npz") as stored:
        return {name: array[()] for name, array in stored.items()}


def moments(features):
    found = Moments(features.shape[1])
    for batch in np.array_split(features, 7):
        found.add(batch)
    return found.mean, found.covariance()


def frechet(a, b):
    return frechet_distance(*moments(a), *moments(b))


def neighbours(real, fake, k, strict):
    balls = metrics.precision_recall(real, fake, k, strict, block=150)
    return balls + metrics.density_coverage(real, fake, k, strict, block=150)


@pytest.mark.parametrize("name", ["real", "fake"])
def test_moments(oracle, name):
    mean, covariance = moments(oracle[name])
    np.testing.assert_allclose(mean, oracle[f"mu_{name}"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(covariance, oracle[f"sigma_{name}"], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["fake", "fake_b"])
def test_frechet_distance_of_full_rank(oracle, name):
    found, same = frechet(oracle["real"], oracle[name]), frechet(oracle[name], oracle[name])
    for form in ("mp", "nuclear", "eigh", "sqrtm", "torchfidelity_f64feat"):
        assert found == pytest.approx(oracle[f"fid_{name}_{form}"], rel=1e-10)
    assert found == pytest.approx(oracle[f"fid_{name}_torchfidelity"], rel=3.5e-7)
    assert found != pytest.approx(oracle[f"fid_{name}_ddof0_WRONG"], rel=1e-4)
    for form in ("eigh", "sqrtm", "torchfidelity"):
        assert same == pytest.approx(oracle[f"fid_identical_{form}"], abs=2e-12)


@pytest.mark.parametrize("count", [20, 40])
def test_frechet_distance_of_fewer_images_than_features(oracle, count):
    real, fake, name = oracle["real"][:count], oracle["fake"][:count], f"fid_rankdef{count}"
    pairs = {"": (real, fake), "_vs_full": (real, oracle["real"]), "_identical": (real, real)}
    for case, (a, b) in pairs.items():
        exact = oracle[f"{name}_exact{case}"]
        assert frechet(a, b) == pytest.approx(exact, abs=1e-9)
        assert frechet(b, a) == pytest.approx(exact, abs=1e-9)
        uncut = oracle[f"{name}_identical_eigh" if case == "_identical" else f"{name}_eigh{case}"]
        assert 1e-7 < exact - uncut < 5e-6  # what leaving out the cut of eigenvalues costs


def test_frechet_distance_of_a_constant_set(oracle):
    constant = np.repeat(oracle["real"][:1], 50, axis=0)
    for form in ("exact", "eigh"):
        expected = pytest.approx(oracle[f"fid_constant_vs_real_{form}"], rel=1e-12)
        assert frechet(constant, oracle["real"]) == expected
        assert frechet(oracle["real"], constant) == expected


@pytest.mark.parametrize("name", ["gauss2_fid_exact", "gauss7_fid_exact", "gauss5_fid_mp"])
def test_frechet_distance_of_given_gaussians(oracle, name):
    arguments = [oracle[f"{name[:6]}_{part}"] for part in ("m1", "s1", "m2", "s2")]
    assert frechet_distance(*arguments) == pytest.approx(oracle[name], abs=1e-10)


def test_kernel_distance_of_full_sets(oracle):
    real, fake, fake_b = oracle["real"], oracle["fake"], oracle["fake_b"]
    for name, a, b in (
        ("", real, fake),
        ("_500v380", real, fake_b),
        ("_identical", real, real),
        ("_disjoint_halves", real[:250], real[250:]),
    ):
        found = metrics.kernel_distance(a, b, block=128)
        assert found == pytest.approx(oracle[f"kid_full_unbiased{name}"], rel=1e-9)
        if b is fake or b is fake_b:
            assert found != pytest.approx(oracle[f"kid_full_biased{name}"], rel=1e-2)


@pytest.mark.parametrize("protocol", ["s100_n100", "s10_n250", "s1_n500", "s100_n100_500v380"])
def test_kernel_distance_of_subsets(oracle, protocol):
    subsets, size, *other = (part.lstrip("sn") for part in protocol.split("_"))
    fake, other = (oracle["fake_b"], "_500v380") if other else (oracle["fake"], "")
    found = metrics.kernel_distance_subsets(oracle["real"], fake, int(subsets), int(size))
    for value, what in zip(found, ("mean", "std"), strict=True):
        exact = oracle[f"kid_tf_s{subsets}_n{size}_f64{other}_{what}"]
        assert value == pytest.approx(exact, rel=1e-9, abs=1e-12)
        if not other:
            single = oracle[f"kid_tf_s{subsets}_n{size}_f32_{what}"]
            assert value == pytest.approx(single, abs=3e-7)


def test_kernel_distance_draws_the_recorded_subsets(oracle):
    random = np.random.RandomState(2020)
    for expected in oracle["kid_tf_first_indices"]:
        np.testing.assert_array_equal(random.choice(500, 100, replace=False), expected)
    for count in (1, 3):
        each = oracle["kid_tf_s100_n100_f64_each"][:count]
        found = metrics.kernel_distance_subsets(oracle["real"], oracle["fake"], count, 100)
        assert found == pytest.approx((each.mean(), each.std()), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("logits", ["logits", "logits_503"])
@pytest.mark.parametrize("splits", [1, 10])
@pytest.mark.parametrize(("order", "seed"), [("shuffle2020", 2020), ("noshuffle", None)])
def test_inception_score(oracle, logits, splits, order, seed):
    name = f"is_{len(oracle[logits])}_splits{splits}_{order}"
    found = metrics.inception_score(oracle[logits], splits, seed)
    expected = oracle[f"{name}_mean"], oracle[f"{name}_std"]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_inception_score_of_special_sets(oracle):
    first = np.random.RandomState(2020).permutation(500)[:20]
    np.testing.assert_array_equal(first, oracle["is_shuffle2020_perm500_first20"])
    one_hot = 1e4 * np.eye(10)[np.arange(500) % 10]
    for name, logits in (
        ("is_uniform", np.zeros((500, 10))),
        ("is_onehot10", one_hot),
        ("is_onecl", np.repeat(one_hot[:1], 500, axis=0)),
        ("is_never_class_splits1_exact", oracle["logits_never_class"]),
    ):
        assert metrics.inception_score(logits, 1)[0] == pytest.approx(oracle[name], rel=1e-9)
    extreme = np.random.default_rng(0).standard_normal((100, 10)) * 2000  # log 0 in float64
    assert 1.0 < metrics.inception_score(extreme, 1)[0] <= 10.0


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("k", [3, 5])
@pytest.mark.parametrize("name", ["fake", "fake_b"])
def test_precision_recall_density_coverage(oracle, name, k, strict):
    found = neighbours(oracle["real"], oracle[name], k, strict)
    for value, what in zip(found, NEIGHBOUR_METRICS, strict=True):
        assert value == pytest.approx(oracle[f"prdc_{name}_k{k}_{what}"], abs=1e-12)
    p, r = map(float, np.float32(found[:2]))  # torch-fidelity's shares are float32
    expected = oracle[f"prc_tf_{name}_k{k}_fscore"]
    assert 2 * p * r / max(1e-5, p + r) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [3, 5])
def test_radii_and_ties(oracle, k):
    for name in ("real", "fake"):
        found = np.sqrt(metrics.squared_radii(oracle[name], k))
        np.testing.assert_allclose(found, oracle[f"radii_{name}_k{k}"], rtol=1e-12)
    assert oracle["prdc_min_relative_margin"] > 1000 * metrics._TIE
    for strict, word in ((False, "nonstrict"), (True, "strict")):
        found = neighbours(oracle["dup"], oracle["dup"], k, strict)
        expected = [oracle[f"dup_{word}_k{k}_{what}"] for what in NEIGHBOUR_METRICS]
        assert found == pytest.approx(expected, abs=1e-12)


def test_cases_in_which_the_libraries_fail_or_disagree(oracle):
    real, fake, logits = oracle["real"], oracle["fake"], oracle["logits"]
    assert neighbours(real, real + 1e3, 3, False) == (0.0, 0.0, 0.0, 0.0)
    assert metrics.precision_recall(real[:6], real[:6], k=5) == (1.0, 1.0)
    for function, arguments in (
        (moments, (real[:0],)),
        (moments, (real[:1],)),
        (frechet, (real, fake[:, :32])),
        (metrics.kernel_distance, (real, fake[:1])),
        (metrics.kernel_distance_subsets, (real, fake)),  # of 1000
        (metrics.kernel_distance_subsets, (real, fake, 100, 1)),
        (metrics.inception_score, (logits[:5], 10)),
        (metrics.precision_recall, (real[:5], real[:5], 5)),
        (metrics.density_coverage, (real[:1], fake, 3)),
    ):
        with pytest.raises(InputError):
            function(*arguments)


# ----------------------------------------------------------------------------------- formats

GOOD = {
    "three_zip.pth": "three",
    "three_legacy.pth": "three",
    "three_plaindict_zip.pth": "three",
    "three_plaindict_legacy.pth": "three",
    "three.safetensors": "three",
    "module_zip.pth": "module",
    "module_legacy.pth": "module",
    "views_nested_zip.pth": "views",
    "views_nested_legacy.pth": "views",
    "dtypes.safetensors": "dtypes",
}


@pytest.mark.parametrize("name", GOOD)
def test_recorded_files_are_read_exactly(oracle_dir, name):
    prefix = f"{GOOD[name]}/"
    with np.load(oracle_dir / "formats" / "expected.npz") as stored:
        expected = {n.removeprefix(prefix): stored[n] for n in stored if n.startswith(prefix)}
    if "bf16_as_f32" in expected:
        expected["bf16"] = expected.pop("bf16_as_f32")
    tensors = read_weights(oracle_dir / "formats" / name)
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert tensors[key].dtype == value.dtype
        np.testing.assert_array_equal(tensors[key], value)


def test_frozen_graph_constants_are_read_by_name(oracle_dir):
    constants = read_weights(oracle_dir / "formats" / "tiny_inception_like.pb")
    with np.load(oracle_dir / "formats" / "tiny_inception_like_expected.npz") as stored:
        expected = {name.replace("|", "/"): stored[name] for name in stored}
    assert constants.keys() == expected.keys()
    for key, value in expected.items():
        assert constants[key].dtype == value.dtype
        np.testing.assert_array_equal(constants[key], value)


@pytest.mark.parametrize("kind", ["global", "truncated", "offsets", "hugeheader"])
def test_files_that_must_be_refused_are_one_line(oracle_dir, kind):
    files = sorted((oracle_dir / "formats").glob(f"refuse_{kind}*"))
    assert files
    for path in files:
        with pytest.raises(InputError) as refused:
            read_weights(path)
        assert path.name in str(refused.value) and "\n" not in str(refused.value)
