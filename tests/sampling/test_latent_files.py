"""Files of latents come back as they were, one after the other, or are refused in a line."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import latent_files


def test_latents_of_files_come_one_after_the_other(tmp_path):
    z = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    latent_files.write(first, z[:1], np.array([2]))
    latent_files.write(second, z[1:], np.array([0, 1]))
    found, labels = latent_files.read([first, second], 4, 3)
    np.testing.assert_array_equal(found, z)
    assert labels == [2, 0, 1]
    assert latent_files.read([first], 4, 0)[1] == []


def test_classes_count_only_if_every_file_has_them(tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    latent_files.write(first, np.zeros((1, 4), np.float32), np.array([2]))
    latent_files.write(second, np.zeros((1, 4), np.float32))
    assert latent_files.read([first, second], 4, 3)[1] == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((1, 5))}, "z is float64 of shape (1, 5); this model takes floats of shape"),
        ({"z": np.zeros((1, 4), int)}, "z is int64 of shape (1, 4)"),
        ({"z": np.zeros((0, 4))}, "z is float64 of shape (0, 4)"),
        ({"arr_0": np.zeros((1, 4))}, "z is float64 of shape (0,)"),
        ({"z": np.full((1, 4), np.nan)}, "its z holds NaN or infinite values"),
        ({"z": np.full((1, 4), 1e300)}, "its z holds NaN or infinite values"),
        ({"z": np.zeros((1, 4)), "labels": [3]}, "its labels are not all from 0 to 2"),
        ({"z": np.zeros((1, 4)), "labels": [0, 1]}, "its labels are int64 of shape (2,)"),
        ({"z": np.zeros((1, 4)), "labels": [0.0]}, "its labels are float64 of shape (1,)"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, message):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError) as error:
        latent_files.read([path], 4, 3)
    assert str(error.value).startswith(f"latents={path}: ") and message in str(error.value)


def test_styles_are_told_from_latents_and_not_mixed_with_them(tmp_path):
    of_z, of_w, both = (tmp_path / name for name in ("z.npz", "w.npz", "both.npz"))
    latents = np.ones((2, 4), np.float32)
    latent_files.write(of_z, latents)
    latent_files.write(of_w, 2 * latents, np.int32([0, 1]), "w")
    np.savez(both, z=latents, w=latents)
    assert [latent_files.space_of([path]) for path in (of_z, of_w)] == ["z", "w"]
    found, labels = latent_files.read([of_w], 4, 3, "w")
    np.testing.assert_array_equal(found, 2 * latents)
    assert labels == [0, 1]
    with pytest.raises(InputError, match="they are z, w; give files of one"):
        latent_files.space_of([of_z, of_w])
    with pytest.raises(InputError, match="it has 2 of z and w; it must have one"):
        latent_files.space_of([both])
    with pytest.raises(InputError, match=r"its w is float32 of shape \(2, 4\); this model takes"):
        latent_files.read([of_w], 5, 3, "w")


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_text("x")
    with pytest.raises(InputError, match="this npz archive cannot be read"):
        latent_files.read([path], 4, 0)
