"""Large numbers have no exponents, and images counted in thousands none that is like another's."""

import pytest

from ladagan_tf.decimals import in_kimg, plain


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (9999.6, 4, "10000"),
        (12345.67, 4, "12346"),
        (-25000000.0, 6, "-25000000"),
        (0.5, 4, "0.5"),
        (1234.5, 6, "1234.5"),
        (0.00012345, 3, "0.000123"),
        (1.5e-7, 4, "1.5e-07"),
        (float("nan"), 4, "nan"),
        (float("inf"), 4, "inf"),
        (1e300, 4, "1e+300"),
    ],
)
def test_a_number_is_in_decimals_however_large(value, digits, text):
    assert plain(value, digits) == text


def test_counts_of_images_differ_in_thousands_as_they_do_in_images():
    for images, text in ((0, "0"), (500, "0.5"), (1000, "1"), (10_000_000, "10000")):
        assert in_kimg(images) == text
    assert in_kimg(123_456_789) == "123456.789" != in_kimg(123_456_790)
