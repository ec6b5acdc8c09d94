"""Archives of many images: streamed, and continued where they were interrupted."""

import shutil
import tracemalloc
import types
import zipfile

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import image_files
from ladagan_tf.sampling.saved_models import files_sha256

SIDE = 32


def test_an_interrupted_archive_continues(tmp_path):
    numbers, asked = list(range(8)), []
    images = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), np.uint8)

    def produce(some, stop=None):
        asked.append(list(some))
        for i in range(0, len(some), 2):
            if stop is not None and i >= stop:
                raise KeyboardInterrupt
            yield images[some[i : i + 2]]

    def write(stop=None, about=None):
        image_files.write_archive(
            tmp_path / "a.npz", numbers, lambda some: produce(some, stop), SIDE, about or {"m": 1}
        )

    with pytest.raises(KeyboardInterrupt):
        write(stop=4)
    partial = tmp_path / ".a.npz.partial" / "images"
    with open(partial, "ab") as file:
        file.write(b"half an image")
    with pytest.raises(KeyboardInterrupt):
        write(stop=2)
    assert not (tmp_path / "a.npz").exists()
    write()
    assert asked == [numbers, numbers[4:], numbers[6:]]
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["arr_0"], images)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]

    (tmp_path / "a.npz").unlink()
    with pytest.raises(KeyboardInterrupt):
        write(stop=4)
    write(about={"m": "another model"})  # starts anew
    assert asked[-1] == numbers

    (tmp_path / "a.npz").unlink()
    partial.parent.mkdir()
    (partial.parent / "thesis.txt").touch()
    with pytest.raises(InputError, match=r"a\.npz\.partial: thesis\.txt in it is not ours"):
        write()
    (partial.parent / "thesis.txt").unlink()  # somebody's own, which was left
    with pytest.raises(KeyboardInterrupt):
        write(stop=4)
    (tmp_path / ".a.npz.partial" / image_files.ABOUT).write_bytes(b"\xff")  # damaged: anew, too
    write()
    assert asked[-1] == numbers


@pytest.mark.parametrize("ending", ["npz", "zip"])
def test_an_archive_is_streamed(tmp_path, ending):
    side, count = 64, 1000  # 12 MB
    path = tmp_path / f"a.{ending}"

    def produce(some):
        for i in range(0, len(some), 10):
            yield np.full((10, side, side, 3), i % 256, np.uint8)

    tracemalloc.start()
    image_files.write_archive(path, list(range(count)), produce, side, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    if ending == "npz":
        with np.load(path) as file:
            assert file["arr_0"].shape == (count, side, side, 3)
            assert file["arr_0"][999].max() == 990 % 256


def test_a_seed_that_is_named_twice_is_one_file(tmp_path):
    def produce(some):
        yield np.zeros((len(some), 2, 2, 3), np.uint8)

    image_files.write_archive(tmp_path / "a.zip", [3, 5, 3], produce, 2, {})
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["seed00000003.png", "seed00000005.png"]


def test_a_saved_model_is_known_by_its_files_wherever_they_lie(tmp_path):
    def identity(folder, **strength):
        about = {"model": str(folder), "files_sha256": files_sha256(folder), **strength}
        return image_files.identity(types.SimpleNamespace(network=None, about=about))

    def write(about):
        return image_files.write_folder(tmp_path / "out", [0], lambda seeds: [image], about)

    image = np.zeros((1, 8, 8, 3), np.uint8)
    model = tmp_path / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_text("graph")
    (model / "variables" / "variables.index").write_text("weights")
    shutil.copytree(model, tmp_path / "moved")
    before = identity(model, psi=1.0)
    assert identity(tmp_path / "moved", psi=1.0) == before != identity(model, psi=0.5)
    assert write(before) == 1 and write(before) == 0
    (model / "variables" / "variables.index").write_text("other weights")  # exported again
    with pytest.raises(InputError, match="images of another model are in it"):
        write(identity(model, psi=1.0))
