"""The nearest training pictures of samples: found, drawn, and a copy is told."""

import numpy as np
import pytest
from in_process import command, error_line
from PIL import Image

from examples import nearest
from ladagan_tf import prepare
from ladagan_tf.flags import prepare as prepare_flags


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six pictures of noise as a prepared set, and samples that copy two."""
    folder = tmp_path_factory.mktemp("nearest")
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    np.savez(folder / "set.npz", images=images)
    samples = images[[4, 1]]
    np.savez(folder / "samples.npz", images=samples)
    np.savez(folder / "larger.npz", images=np.zeros((2, 16, 16, 3), np.uint8))
    with command(prepare, prepare_flags.define) as main:
        main(f"--source={folder / 'set.npz'}", f"--out={folder / 'set'}", "--resolution=8")
    return folder


def flags_of(folder, samples, out):
    return [f"--images={folder / samples}", f"--dataset={folder / 'set'}", f"--out={out}"]


def test_a_copy_stands_beside_its_picture(folder, tmp_path, capsys):
    out = tmp_path / "nearest.png"
    with command(nearest, nearest.define) as main:
        main(*flags_of(folder, "samples.npz", out), "--features=none", "--rows=2")
    assert "2 samples to the nearest training picture 0.00, of training" in capsys.readouterr().out
    sheet = np.array(Image.open(out))
    assert sheet.shape == (18, 18, 3)
    np.testing.assert_array_equal(sheet[:, :8], sheet[:, 10:])


def test_samples_of_another_size_are_one_line(folder, tmp_path, capsys):
    with command(nearest, nearest.define) as main:
        line = error_line(main, flags_of(folder, "larger.npz", tmp_path / "n.png"), capsys)
        assert "16 px, the set has 8 px" in line
        line = error_line(main, flags_of(folder, "samples.npz", tmp_path / "n"), capsys)
        assert line.endswith("n: it must end in .png")
        line = error_line(main, flags_of(folder, "samples.npz", "/proc/n.png"), capsys)
        assert "out=/proc/n.png: it cannot be written" in line


def test_features_of_another_size_and_too_few_pictures_are_one_line(folder, tmp_path, capsys):
    given = flags_of(folder, "samples.npz", tmp_path / "n.png")
    with command(nearest, nearest.define) as main:
        line = error_line(main, [*given, "--features=classifier:zoo:shapes"], capsys)
        assert line.endswith("the network takes images of 32 px, not those of 8 px")
    with command(prepare, prepare_flags.define) as main:
        main(f"--source={folder / 'samples.npz'}", f"--out={tmp_path / 'set'}", "--resolution=8")
    given[1] = f"--dataset={tmp_path / 'set'}"
    with command(nearest, nearest.define) as main:
        assert "set: 2 images; at least 3 are needed" in error_line(main, given, capsys)
    assert not (tmp_path / "n.png").exists()


def test_neighbours_are_those_of_the_distances():
    rng = np.random.default_rng(0)
    points, others = rng.standard_normal((5, 4)), rng.standard_normal((7, 4))
    distances, indices = nearest.neighbours(points, others, 3)
    wanted = np.linalg.norm(points[:, None] - others, axis=-1)
    np.testing.assert_array_equal(indices, np.argsort(wanted, axis=1)[:, :3])
    np.testing.assert_allclose(distances, np.sort(wanted, axis=1)[:, :3], atol=1e-12)
