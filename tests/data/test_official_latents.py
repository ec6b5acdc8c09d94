"""The layout of GAT's authors: pairing by name, both kinds of files, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from latent_sets import encoding, moments_of, read_moments
from PIL import Image

from ladagan_tf.data import dataset_info, official_latents, pipeline
from ladagan_tf.data.shapes import shapes_image
from ladagan_tf.errors import InputError

_COUNT = 6
_LABELS = (2, 0, 1, 2, 0, 0)
_IMAGES = np.stack([shapes_image(0, index, 8)[0] for index in range(_COUNT)])
_MOMENTS = moments_of(_IMAGES)  # (6, 4, 4, 4)


def _latents_name(index):
    return f"{index % 2:05d}/img-mean-std-{index:08d}.npy"


@pytest.fixture
def folder(tmp_path):
    """Six images in two folders, their moments as REPA's tools write them, and labels."""
    root = tmp_path / "official"
    for index, image in enumerate(_IMAGES):
        path = root / "images" / f"{index % 2:05d}" / f"img{index:08d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
        _save(root, index, _MOMENTS[index].transpose(2, 0, 1))
    _write_labels(root, _LABELS)
    return root


def _save(root, index, array):
    path = root / "vae-sd" / _latents_name(index)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def _write_labels(root, labels):
    entries = [[_latents_name(index), label] for index, label in enumerate(labels)]
    (root / "vae-sd" / "dataset.json").write_text(json.dumps({"labels": entries}))


def _prepare(folder, **changes):
    out = folder.parent / "out"
    return official_latents.prepare_official(str(folder), out, encoding(**changes), 8)


def _content(info):
    """Images, moments and labels, in the order of the images' indices."""
    images, labels = next(pipeline.iterate_images(info.folder, _COUNT))
    moments, _ = read_moments(info.folder)
    order = [int((image == images).all((1, 2, 3)).argmax()) for image in _IMAGES]
    return images[order], moments[order], labels[order]


def test_the_layout_is_told_by_its_two_folders(folder):
    assert official_latents.is_official(folder)
    assert not official_latents.is_official(folder / "images")


def test_stored_moments_labels_and_images_are_paired_by_name(folder):
    info = _prepare(folder)
    images, moments, labels = _content(info)
    np.testing.assert_array_equal(images, _IMAGES)
    np.testing.assert_array_equal(moments, _MOMENTS)
    assert labels.tolist() == list(_LABELS)
    assert info.classes == ("0", "1", "2") and info.class_counts == (3, 1, 2)
    assert dataset_info.load_info(info.folder) == info


def test_so_are_those_of_names_that_are_escaped(folder):
    """As of screenshots of macOS, which have a narrow blank that breaks no line."""
    for kind, suffix in (("images", ".png"), ("vae-sd", ".npy")):
        name = "img-mean-std-00000000" if kind == "vae-sd" else "img00000000"
        path = folder / kind / "00000" / f"{name}{suffix}"
        path.rename(path.with_name(f"shot 3\u202fPM{suffix}"))
    labels = folder / "vae-sd" / "dataset.json"
    labels.write_text(labels.read_text().replace("img-mean-std-00000000", "shot 3\u202fPM"))
    assert _prepare(folder).count == _COUNT


def test_a_leading_axis_of_one_is_dropped(folder):
    _save(folder, 3, _MOMENTS[3].transpose(2, 0, 1)[None])
    np.testing.assert_array_equal(_content(_prepare(folder))[1], _MOMENTS)


def test_files_of_half_the_channels_are_scaled_samples_without_deviation(folder):
    samples = _MOMENTS[..., :2] + 0.5 * _MOMENTS[..., 2:]  # half a deviation beside the mean
    for index, sample in enumerate(samples):
        _save(folder, index, sample.transpose(2, 0, 1) * np.float32(0.5))  # the scaling factor
    _, moments, _ = _content(_prepare(folder))
    np.testing.assert_allclose(moments[..., :2], samples, rtol=1e-6)
    assert not moments[..., 2:].any()


def test_latents_of_another_autoencoder_are_refused(folder):
    for index in range(_COUNT):
        _save(folder, index, _MOMENTS[index].transpose(2, 0, 1) * np.float32(1.2))
    with pytest.raises(InputError, match=r"\.npy: not what --vae makes of its image") as caught:
        _prepare(folder)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.parent.iterdir()] == ["official"]


def test_a_little_other_rounding_is_accepted(folder):
    for index in range(_COUNT):
        _save(folder, index, _MOMENTS[index].transpose(2, 0, 1) * np.float32(1.05))
    assert _prepare(folder).count == _COUNT


def test_latents_that_are_not_finite_name_their_image(folder):
    _save(folder, 5, np.full((4, 4, 4), np.inf, "float32"))
    with pytest.raises(InputError, match=r"00001/img00000005\.png: its latents are not finite"):
        _prepare(folder)


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((3, 4, 4), "float32"), r"float32 \(3, 4, 4\)"),
        (np.zeros((4, 8, 8), "float32"), r"float32 \(4, 8, 8\)"),
        (np.zeros((2, 4, 4, 4), "float32"), r"float32 \(2, 4, 4, 4\)"),
        (np.zeros((4, 4, 4), "int64"), r"int64 \(4, 4, 4\)"),
    ],
)
def test_a_file_of_another_shape_or_type_is_named(folder, array, found):
    _save(folder, 4, array)
    message = rf"mean-std-00000004\.npy: {found}; it must be floats of shape \(4, 4, 4\) or \(2, 4"
    with pytest.raises(InputError, match=message):
        _prepare(folder)


def _remove(name):
    return lambda root: (root / name).unlink()


def _change_labels(text):
    return lambda root: (root / "vae-sd" / "dataset.json").write_text(text)


def _double(root):
    Image.fromarray(_IMAGES[0]).save(root / "images/00000/img00000002.bmp")


def _double_latents(root):
    shutil.copy(root / "vae-sd" / _latents_name(2), root / "vae-sd/00000/img00000002.npy")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            _remove("vae-sd/00001/img-mean-std-00000003.npy"),
            r"images/00001/img00000003\.png: no \.npy file of that name in vae-sd/",
        ),
        (
            _remove("images/00000/img00000002.png"),
            r"vae-sd/00000/img-mean-std-00000002\.npy: no image of that name in images/",
        ),
        (_double_latents, r"img00000002\.npy: of the same image as 00000/img-mean-std-00000002"),
        (_double, r"img00000002\.\w+: another image has that name but for its suffix"),
        (_remove("vae-sd/dataset.json"), r"vae-sd/dataset\.json: this JSON file cannot be read"),
        (_change_labels("{}"), r"dataset\.json: it must hold \{\"labels\": \[\[file, class\]"),
        (_change_labels('{"labels": null}'), r"dataset\.json: it must hold"),
        (
            _change_labels('{"labels": []}'),
            r"the label of 00000/img-mean-std-00000000\.npy is None",
        ),
        (
            _change_labels(
                '{"labels": [["img-mean-std-00000000.npy", 0], ["img-mean-std-00000000.npy", 1]]}'
            ),
            r"dataset\.json: img-mean-std-00000000\.npy has two labels, 0 and 1",
        ),
        (lambda root: _write_labels(root, (0, 1, -1, 0, 0, 0)), r"00000002\.npy is -1; it must be"),
        (lambda root: _write_labels(root, (0, 1.5, 1, 0, 0, 0)), r"00000001\.npy is 1\.5"),
        (
            lambda root: _write_labels(root, (0, 1, 10**8, 0, 0, 0)),
            r"vae-sd/dataset\.json: 100000000 is the highest, but none is 2\.",
        ),
        (
            lambda root: (root / "vae-sd" / _latents_name(1)).write_bytes(b"\x93NUMPY"),
            r"00000001\.npy: this \.npy file cannot be read",
        ),
    ],
)
def test_what_does_not_correspond_is_refused_by_name(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        _prepare(folder)
    assert "\n" not in str(caught.value)
    assert [path.name for path in folder.parent.iterdir()] == ["official"]
