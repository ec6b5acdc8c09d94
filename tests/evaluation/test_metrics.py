"""Closed forms, small derivations in NumPy, and the usual mistakes of GAN metrics."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import metrics

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((70, 6))
FAKE = RANDOM.standard_normal((53, 6)) * 1.3 + 0.2


def unbiased_by_loops(x, y):
    def kernel(a, b):
        return (a @ b / len(a) + 1.0) ** 3

    def within(z):
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return np.mean(pairs)

    return within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])


@pytest.mark.parametrize("block", [1, 7, 64, 2048])
def test_kernel_distance_is_the_unbiased_estimator_in_any_blocks(block):
    found = metrics.kernel_distance(REAL, FAKE, block=block)
    assert found == pytest.approx(unbiased_by_loops(REAL, FAKE), rel=1e-11)
    assert metrics.kernel_distance(FAKE, REAL, block) == pytest.approx(found, rel=1e-11)


def test_kernel_distance_of_a_set_to_itself_is_below_zero():
    assert metrics.kernel_distance(REAL, REAL) < 0.0
    assert metrics.kernel_distance(REAL, REAL) == pytest.approx(unbiased_by_loops(REAL, REAL))


def test_subsets_of_the_whole_set_are_the_full_estimate_with_no_spread():
    full = metrics.kernel_distance(REAL[:50], FAKE[:50])
    mean, std = metrics.kernel_distance_subsets(REAL[:50], FAKE[:50], 3, 50)
    assert (mean, std) == (pytest.approx(full, rel=1e-10), pytest.approx(0.0, abs=1e-12))


def test_inception_score_has_its_closed_forms():
    confident = 50.0 * np.eye(5)[np.arange(40) % 5]
    assert metrics.inception_score(confident, 1) == (pytest.approx(5.0, rel=1e-12), 0.0)
    assert metrics.inception_score(np.ones((40, 5)), 4)[0] == pytest.approx(1.0, rel=1e-12)
    # Without the shuffle each split of a sorted set sees one class only.
    in_order = np.repeat(50.0 * np.eye(5), 8, axis=0)
    assert metrics.inception_score(in_order, 5, shuffle_seed=None)[0] == pytest.approx(1.0)
    assert metrics.inception_score(in_order, 5)[0] > 2.0


@pytest.mark.filterwarnings("error")
def test_a_class_that_is_never_predicted_adds_nothing():
    logits = RANDOM.standard_normal((30, 4))
    never = np.hstack([logits, np.full((30, 1), -3000.0)])
    assert metrics.inception_score(never, 3) == pytest.approx(metrics.inception_score(logits, 3))
    never[0, 4] = -740.0  # a probability that underflows when averaged
    assert np.isfinite(metrics.inception_score(never, 3)).all()


# A line of points whose balls one can draw: real at 0, 1, 2, 3 with radius 1 (k=1) and one at 100
# with radius 97; fake, radius 0.5, at 10.0, 10.5 and 11.0. The ball of 100 holds every fake, no
# fake ball holds a real point.
LINE_REAL = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
LINE_FAKE = np.array([[10.0], [10.5], [11.0]])


def test_precision_is_of_fake_and_recall_of_real():
    assert metrics.precision_recall(LINE_REAL, LINE_FAKE, k=1) == (1.0, 0.0)
    assert metrics.precision_recall(LINE_FAKE, LINE_REAL, k=1) == (0.0, 1.0)


def test_density_counts_balls_and_coverage_counts_real_balls():
    assert metrics.density_coverage(LINE_REAL, LINE_FAKE, k=1) == (1.0, 0.2)
    # Radii 2, 1, 1, 2, 98: 0 lies in the balls of 0 and 1, and 1 in those of 0, 1, 2 and 3.
    assert metrics.density_coverage(LINE_REAL, LINE_REAL[:2], k=2) == (6 / (2 * 2), 4 / 5)


def test_a_point_on_the_sphere_is_inside_unless_strict():
    fake = np.array([[-1.0], [4.0]])
    assert metrics.precision_recall(LINE_REAL[:4], fake, k=1)[0] == 1.0
    assert metrics.precision_recall(LINE_REAL[:4], fake, k=1, strict=True)[0] == 0.0


def test_rounding_decides_no_tie():
    # Points of a regular grid, rotated: every nearest distance is 1 up to rounding.
    grid = np.stack(np.meshgrid(*3 * [np.arange(5.0)]), axis=-1).reshape(-1, 3)
    rotation = np.linalg.qr(RANDOM.standard_normal((40, 40)))[0][:3]
    points = grid @ rotation + RANDOM.standard_normal(40)
    real, fake = points[::2], points[1::2]  # a checkerboard: across colours 1, within sqrt(2)
    density, coverage = metrics.density_coverage(points, points, k=1)
    neighbours = (np.abs(grid[:, None] - grid).sum(axis=2) <= 1).sum()
    assert (density, coverage) == (neighbours / len(grid), 1.0)
    assert metrics.density_coverage(points, points, k=1, strict=True) == (1.0, 1.0)
    assert metrics.precision_recall(real, fake, k=1, block=16) == (1.0, 1.0)


def test_copies_have_radius_zero_and_find_each_other():
    copies = np.repeat(RANDOM.standard_normal((9, 33)) * 100, 6, axis=0)
    assert not metrics.squared_radii(copies, 5).any()
    assert metrics.squared_radii(copies, 6).all()
    assert metrics.precision_recall(copies, copies[::-1], k=5) == (1.0, 1.0)
    assert metrics.precision_recall(copies, copies[::-1], k=5, strict=True) == (0.0, 0.0)


@pytest.mark.parametrize("block", [1, 13, 2048])
def test_manifold_metrics_agree_with_all_distances_at_once_in_any_blocks(block):
    def distances(a, b):
        return np.linalg.norm(a[:, None] - b, axis=2)

    k = 4
    radii = [np.sort(distances(x, x), axis=1)[:, k] for x in (REAL, FAKE)]
    np.testing.assert_allclose(np.sqrt(metrics.squared_radii(REAL, k, block)), radii[0], rtol=1e-12)
    across = distances(REAL, FAKE)
    in_real, in_fake = across <= radii[0][:, None], across <= radii[1]
    assert metrics.precision_recall(REAL, FAKE, k, block=block) == (
        in_real.any(axis=0).mean(),
        in_fake.any(axis=1).mean(),
    )
    assert metrics.density_coverage(REAL, FAKE, k, block=block) == (
        pytest.approx(in_real.sum() / (k * len(FAKE))),
        in_real.any(axis=1).mean(),
    )


@pytest.mark.parametrize("block", [1, 13, 2048])
def test_nearest_rows_come_in_order_and_give_every_radius(block):
    distances = np.square(REAL[:, None] - REAL).sum(axis=2)
    found = metrics.nearest_squared(REAL, 4, block)
    np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, 1:5], rtol=1e-12)
    radii = found[:, 2]
    for compute in (metrics.precision_recall, metrics.density_coverage):
        assert compute(REAL, FAKE, k=3, radii=radii) == compute(REAL, FAKE, k=3)


def test_a_copy_is_as_near_as_the_nearest_other_real_point_or_nearer():
    # The balls of 0 to 3 have radius 1, that of 100 has 97; 4 is on a sphere, 60 in one.
    fake = np.array([[-1.5], [0.4], [4.0], [60.0], [10.0]])
    assert metrics.authenticity(LINE_REAL, fake) == 2 / 5
    assert metrics.authenticity(LINE_REAL, LINE_REAL) == 0.0


def test_a_third_of_what_is_drawn_as_the_real_points_were_is_authentic_on_a_line():
    # The nearest point of a point has that one as its own nearest with probability 2/3.
    real, fake = np.split(np.random.default_rng(3).random((8000, 1)), 2)
    assert metrics.authenticity(real, fake) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("block", [1, 13, 2048])
def test_authenticity_is_that_of_all_distances_at_once_in_any_blocks(block):
    across = np.linalg.norm(FAKE[:, None] - REAL, axis=2)
    within = np.linalg.norm(REAL[:, None] - REAL, axis=2)
    reach = np.sort(within, axis=1)[:, 1][across.argmin(axis=1)]
    found = metrics.authenticity(REAL, FAKE, block)
    assert 0 < found < 1 and found == (across.min(axis=1) > reach).mean()


def test_k_may_be_one_less_than_the_number_of_images_and_no_more():
    assert metrics.precision_recall(REAL[:4], REAL[:4], k=3) == (1.0, 1.0)
    for compute in (metrics.precision_recall, metrics.density_coverage):
        for k in (4, 0):
            with pytest.raises(InputError, match=f"k={k} .*N=4"):
                compute(REAL[:4], REAL, k=k)


def test_mode_coverage_counts_classes_and_compares_shares():
    found = metrics.mode_coverage([10, 10, 20, 0], [1, 0, 2, 1])
    assert found == (3, 2, 0.25)  # real shares 1/4 1/4 1/2 0; fake 1/4 0 1/2 1/4
    assert (found.classes, found.hit, found.total_variation) == found
    assert metrics.mode_coverage([3, 3], [500, 500]).total_variation == 0.0
    assert metrics.mode_coverage([4, 0], [0, 4]) == (1, 0, 1.0)


PAIRS = [
    metrics.kernel_distance,
    lambda a, b: metrics.kernel_distance_subsets(a, b, 2, 10),
    lambda a, b: metrics.precision_recall(a, b, k=1),
    lambda a, b: metrics.density_coverage(a, b, k=1),
]


@pytest.mark.parametrize("compute", PAIRS)
@pytest.mark.filterwarnings("error")
def test_sets_that_no_metric_is_defined_for_are_refused(compute):
    bad = FAKE.copy()
    bad[3, 2], bad[4, 2] = np.inf, -np.inf
    for real, fake, message in (
        (REAL, FAKE[:1], r"fake has shape \(1, 6\)"),
        (REAL[:0], FAKE, r"real has shape \(0, 6\)"),
        (REAL[:, :5], FAKE, "differ in the number of features"),
        (REAL[:, 0], FAKE, "real has shape"),
        (REAL, bad, "fake has values that are not finite"),
    ):
        with pytest.raises(InputError, match=message):
            compute(real, fake)


def test_other_input_that_cannot_be_used_is_refused():
    huge, empty = REAL * 1e200, REAL[:, :0]
    for arguments, message in (
        ((REAL, huge), "squares are not finite"),
        ((empty, empty), r"shape \(70, 0\)"),
        ((REAL, FAKE, -1), "block=-1: give 1 row or more"),
    ):
        with pytest.raises(InputError, match=message):
            metrics.kernel_distance(*arguments)
    with pytest.raises(InputError, match=r"subset_size=1000 .*real: 70, fake: 53"):
        metrics.kernel_distance_subsets(REAL, FAKE)
    with pytest.raises(InputError, match=r"splits=10 .* 9"):
        metrics.inception_score(REAL[:9])
    with pytest.raises(InputError, match="logits has shape"):
        metrics.inception_score(REAL[:1], 1)
    for counts in ([1, 0], [4, -1], [1, 2, 3], [np.nan, 2]):
        with pytest.raises(InputError, match="class counts"):
            metrics.mode_coverage([5, 5], counts)
