"""TF-GAN agrees with ours where it can be imported, and is politely absent where it cannot."""

import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from ladagan_tf.errors import InputError  # noqa: E402
from ladagan_tf.evaluation import metrics, tfgan  # noqa: E402
from ladagan_tf.evaluation.frechet import frechet_distance  # noqa: E402

RANDOM = np.random.default_rng(0)
REAL = RANDOM.standard_normal((90, 8)).astype(np.float32)
FAKE = (RANDOM.standard_normal((70, 8)) * 1.3 + 0.2).astype(np.float32)


@pytest.fixture
def installed():
    try:
        tfgan.check()
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("installed")
def test_import_leaves_tensorflow_as_it_was():
    assert not hasattr(tf, "estimator")


@pytest.mark.usefixtures("installed")
def test_distances_and_score_agree_with_ours():
    moments = [(x.astype(float).mean(axis=0), np.cov(x.astype(float).T)) for x in (REAL, FAKE)]
    expected = frechet_distance(*moments[0], *moments[1])
    assert tfgan.frechet_distance(REAL, FAKE) == pytest.approx(expected, rel=1e-10)
    expected = metrics.kernel_distance(REAL, FAKE)
    assert tfgan.kernel_distance(REAL, FAKE) == pytest.approx(expected, rel=1e-10)
    expected, _ = metrics.inception_score(REAL, splits=1)
    assert tfgan.inception_score(REAL) == pytest.approx(expected, rel=1e-10)


class Unimportable:
    """A finder that breaks tensorflow-gan halfway through its import."""

    def find_spec(self, name, path=None, target=None):
        if name == "tensorflow_gan.python.losses":
            raise AttributeError("no such\nthing")


def test_a_failing_import_is_one_line_and_leaves_nothing_behind(monkeypatch):
    ours = [name for name in sys.modules if name.split(".")[0] == "tensorflow_gan"]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Unimportable(), *sys.meta_path])
    tfgan._eval.cache_clear()
    for call in (tfgan.check, lambda: tfgan.inception_score(REAL)):
        with pytest.raises(
            InputError,
            match=r"--engine=tfgan .*tensorflow-gan of requirements.txt, which does not import",
        ) as e:
            call()
        assert "\n" not in str(e.value)
    assert not any(name.split(".")[0] == "tensorflow_gan" for name in sys.modules)
    assert not hasattr(tf, "estimator")
    tfgan._eval.cache_clear()
