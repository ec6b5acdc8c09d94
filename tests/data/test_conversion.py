"""Conversion of images: crop, filter, orientation, transparency, grey, problems."""

import errno
import io
import struct
import unittest.mock

import numpy as np
import pytest
from encoded_images import png
from PIL import Image, ImageOps, TiffTags

from ladagan_tf.data.conversion import (
    Conversion,
    UnusableImageError,
    convert_image,
    convert_items,
    image_from_array,
    parse_background,
    to_rgb,
)
from ladagan_tf.data.source import Item, open_encoded
from ladagan_tf.errors import InputError

_RAMP = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3)


def test_centre_crop_keeps_the_largest_centred_square():
    result = convert_image(Image.fromarray(_RAMP), Conversion(16, crop="centre"))
    np.testing.assert_array_equal(result, _RAMP[:, 4:20])


def _bicubic(x):
    """Keys' cubic with a = -1/2."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _box(x):
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _resampling(old, new, kernel):
    """Matrix (new, old): samples of `kernel`, widened where it reduces, around each new centre."""
    ratio = old / new
    centres = (np.arange(new)[:, None] + 0.5) * ratio
    weights = kernel((np.arange(old) + 0.5 - centres) / max(ratio, 1.0))
    return weights / weights.sum(1, keepdims=True)


def _resampled(pixels, height, width, kernel):
    """Float64 pixels (h, w, 3) -> (height, width, 3), rounded to 8 bits after each axis."""
    for axis, size in ((1, width), (0, height)):
        matrix = _resampling(pixels.shape[axis], size, kernel)
        pixels = np.moveaxis(np.tensordot(matrix, pixels, (1, axis)), 0, axis)
        pixels = np.clip(np.floor(pixels + 0.5), 0, 255)
    return pixels


@pytest.mark.parametrize(
    ("width", "height", "sizes"),
    [
        (107, 75, [(53, 37), (26, 18), (23, 16)]),  # halved twice, odd sides
        (32, 64, [(16, 32), (16, 32)]),  # exactly twice
        (31, 47, [(16, 24)]),  # not halved: 47 * 16 / 31 = 24.26
        (16, 21, [(16, 21)]),  # of its size
        (12, 9, [(21, 16)]),  # enlarged
    ],
)
def test_the_crop_of_adm_is_box_halves_bicubic_and_a_centred_square(width, height, sizes):
    rng = np.random.default_rng(width)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    expected = pixels.astype(np.float64)
    for i, (new_width, new_height) in enumerate(sizes):
        kernel = _bicubic if i == len(sizes) - 1 else _box
        expected = _resampled(expected, new_height, new_width, kernel)
    top, left = (expected.shape[0] - 16) // 2, (expected.shape[1] - 16) // 2
    found = convert_image(Image.fromarray(pixels), Conversion(16, crop="adm"))
    difference = np.abs(found - expected[top : top + 16, left : left + 16])
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_the_crop_of_adm_ignores_orientation_and_has_its_own_filter():
    image = Image.fromarray(_RAMP)
    image.getexif()[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=image.getexif())
    found = convert_image(open_encoded(buffer.getvalue()), Conversion(16, crop="adm"))
    np.testing.assert_array_equal(found, _RAMP[:, 4:20])
    assert Conversion(16, crop="adm").resize_filter == "bicubic"
    with pytest.raises(InputError, match="resize_filter=lanczos: crop=adm is bicubic"):
        Conversion(16, crop="adm", resize_filter="lanczos")


def test_without_crop_the_whole_image_is_stretched():
    left_half_white = np.zeros((16, 32, 3), np.uint8)
    left_half_white[:, :16] = 255
    stretched = convert_image(Image.fromarray(left_half_white), Conversion(16, crop="none"))
    assert (stretched[:, :5] > 250).all() and (stretched[:, 11:] < 5).all()
    cropped = convert_image(Image.fromarray(left_half_white), Conversion(16, crop="centre"))
    assert (cropped[:, :8] == 255).all() and (cropped[:, 8:] == 0).all()


@pytest.mark.parametrize("resize_filter", ["lanczos", "bicubic", "bilinear", "box"])
def test_reduction_is_antialiased_by_every_filter(resize_filter):
    # One-pixel checks reduced eightfold are grey; sampling would leave black or white.
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    result = convert_image(Image.fromarray(checks), Conversion(8, resize_filter=resize_filter))
    assert np.abs(result.astype(int) - 127).max() <= 3


def test_the_resize_filter_changes_the_pixels():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    results = [
        convert_image(noise, Conversion(16, resize_filter=name)) for name in ("lanczos", "box")
    ]
    assert np.any(results[0] != results[1])


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(kind):
    top_left_red = Image.new("RGB", (8, 8))
    top_left_red.paste((255, 0, 0), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees: to be turned clockwise
    buffer = io.BytesIO()
    top_left_red.save(buffer, kind, exif=exif)
    result = convert_image(open_encoded(buffer.getvalue()), Conversion(8))
    assert (result[:4, 4:, 0] == 255).all() and (result[:, :4] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"none such", b"II*\0\x08\0\0\0\5\0\x12\1\3\0"])  # or cut
def test_exif_data_that_are_none_cost_no_image(kind, exif, monkeypatch, recwarn):
    buffer = io.BytesIO()
    Image.fromarray(_RAMP).save(buffer, kind, exif=b"Exif\0\0" + exif, lossless=True)
    pixels = convert_image(open_encoded(buffer.getvalue()), Conversion(16))
    np.testing.assert_array_equal(pixels, _RAMP[:, 4:20])
    assert not recwarn.list
    with monkeypatch.context() as patch:  # it would be turned with more memory
        patch.setattr(ImageOps, "exif_transpose", unittest.mock.Mock(side_effect=MemoryError))
        with pytest.raises(MemoryError):
            to_rgb(Image.fromarray(_RAMP))


def _half_transparent(mode):
    if mode == "P":
        image = Image.new("P", (8, 8), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.paste(1, (4, 0, 8, 8))
        image.info["transparency"] = 0
        buffer = io.BytesIO()
        image.save(buffer, "PNG", transparency=0)
        return open_encoded(buffer.getvalue())
    colour = {"RGBA": (200, 100, 50, 255), "LA": (200, 255)}[mode]
    image = Image.new(mode, (8, 8), (*colour[:-1], 0))
    image.paste(colour, (4, 0, 8, 8))
    return open_encoded(png(image))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_the_background(mode):
    result = convert_image(_half_transparent(mode), Conversion(8, background=(1, 2, 3)))
    assert (result[:, :4] == (1, 2, 3)).all()
    assert (result[:, 4:] == ((200, 200, 200) if mode == "LA" else (200, 100, 50))).all()


def test_partial_transparency_is_a_mixture_with_the_background():
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 51))  # 20 % opaque
    assert to_rgb(image, (0, 100, 0)).getpixel((0, 0)) == (40, 80, 0)


def test_an_opaque_palette_and_grey_become_rgb():
    assert to_rgb(Image.fromarray(_RAMP).quantize(4)).mode == "RGB"
    assert to_rgb(Image.new("L", (2, 2), 77)).getpixel((1, 1)) == (77, 77, 77)
    assert to_rgb(Image.new("1", (2, 2), 1)).getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 25700, 32896, 65535, 128]], np.uint16)
    expected = np.array([[0, 1, 100, 128, 255, 0]])
    image = open_encoded(png(Image.fromarray(values)))
    np.testing.assert_array_equal(np.asarray(to_rgb(image))[..., 0], expected)
    np.testing.assert_array_equal(np.asarray(image_from_array(values)), expected)


def _tiff(data, width, **tags):
    """One row of grey in a TIFF, of tags by their names in Pillow."""
    names = {"ImageWidth": width, "ImageLength": 1, "Compression": 1, "StripOffsets": 8}
    names |= {"SamplesPerPixel": 1, "RowsPerStrip": 1, "StripByteCounts": len(data)} | tags
    numbers = {TiffTags.TAGS_V2[number].name: number for number in TiffTags.TAGS_V2}
    entries = sorted((numbers[name], value) for name, value in names.items())
    directory = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in entries)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return start + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def _row(data):
    return np.asarray(to_rgb(open_encoded(data)))[0, :, 0].tolist()


def test_what_grey_means_is_said_by_the_file_not_by_its_values():
    small = np.array([0, 10, 255, 257], "<i4")
    for sample_format in (1, 2):  # unsigned, signed
        data = _tiff(
            small.tobytes(), 4, BitsPerSample=32, PhotometricInterpretation=1,
            SampleFormat=sample_format,
        )  # fmt: skip
        with pytest.raises(UnusableImageError, match="32-bit pixels"):
            _row(data)
    sixteen = {"BitsPerSample": 16, "PhotometricInterpretation": 1}
    assert _row(_tiff(small.astype("<u2").tobytes(), 4, **sixteen)) == [0, 0, 1, 1]
    assert _row(b"P5 3 1 65535\n" + np.array([0, 257, 65535], ">u2").tobytes()) == [0, 1, 255]


def test_twelve_bits_fill_the_range_and_white_may_be_zero():
    twelve = {"BitsPerSample": 12, "PhotometricInterpretation": 1}
    assert _row(_tiff(b"\xff\xf8\x00", 2, **twelve)) == [255, 128]
    assert _row(b"P5 2 1 4095\n" + np.array([4095, 2048], ">u2").tobytes()) == [255, 128]
    inverted = {"BitsPerSample": 16, "PhotometricInterpretation": 0}
    assert _row(_tiff(np.array([0, 65535], "<u2").tobytes(), 2, **inverted)) == [255, 0]


def test_floating_point_pixels_are_refused():
    with pytest.raises(UnusableImageError, match="floating-point"):
        to_rgb(Image.new("F", (4, 4)))


def test_a_tiny_image_is_refused_with_its_size_and_the_limit():
    with pytest.raises(UnusableImageError, match=r"7 x 30 pixels.*min_side=8"):
        convert_image(Image.new("RGB", (7, 30)), Conversion(32))
    assert convert_image(Image.new("RGB", (7, 30)), Conversion(32, min_side=7)).shape == (32, 32, 3)


def test_a_broken_file_becomes_a_problem_with_its_name():
    whole = png(Image.fromarray(_RAMP))
    items = [Item("cut.png", 0, whole[: len(whole) // 2]), Item("text.png", None, b"hello")]
    cut, text = convert_items(open_encoded, Conversion(16), items)
    assert cut.name == "cut.png" and cut.problem and not cut.png
    assert text.problem == "not an image in a format that Pillow reads"


def test_a_file_server_that_is_gone_is_no_broken_file():
    """With --skip_bad the rest of the images would be left out of a finished set."""

    def read(payload):
        raise OSError(payload, "x")

    (bad,) = convert_items(read, Conversion(8), [Item("a.png", 0, errno.EIO)])
    assert bad.problem  # a sector of the disk
    with pytest.raises(InputError, match=r"^b\.png: it cannot be read now \(Stale file handle\); "):
        convert_items(read, Conversion(8), [Item("b.png", 0, errno.ESTALE)])


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("black", (0, 0, 0)),
        ("1,2,3", (1, 2, 3)),
        ("#ff0080", (255, 0, 128)),
    ],
)
def test_a_background_is_a_name_or_three_numbers(text, colour):
    assert parse_background(text) == colour


@pytest.mark.parametrize("text", ["1,2", "1,2,300", "a,b,c", "whitish", ""])
def test_another_background_is_refused(text):
    with pytest.raises(InputError, match="background="):
        parse_background(text)


@pytest.mark.parametrize(
    "arguments",
    [{"resolution": 0}, {"crop": "left"}, {"resize_filter": "nearest"}, {"min_side": 0}],
)
def test_an_impossible_conversion_is_refused_by_field(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Conversion(**{"resolution": 8} | arguments)
