"""The demo page's pictures are the images of their seeds, or the seed is refused."""

import numpy as np
import pytest
from page_truth import INVALID, Truncating, expected
from small_generators import SIZES, perturbed

from ladagan_tf import pictures
from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import directions, seeds, walks
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.serving import page_pictures
from ladagan_tf.serving.page_pictures import IN_TURN, View

pytestmark = pytest.mark.usefixtures("eagerly")  # a picture or two of each network


def test_samples_are_the_images_of_their_seeds(small):
    images, first = View(small).samples(" 7 ", 4, None, 1.0)
    assert first == 7
    np.testing.assert_allclose(images, expected(small, range(7, 11)), atol=1)


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_seed_is_refused_in_one_line(small, text):
    with pytest.raises(InputError, match=r"^The seed '.*' is not a whole number from 0 to \d+\.$"):
        View(small).samples(text, 4, None, 1.0)


def test_all_seeds_of_a_grid_are_in_range():
    last = seeds.MAX_SEED
    assert page_pictures.parse_seed(str(last)) == last
    assert page_pictures.parse_seed(str(last - 3), 4) == last - 3
    with pytest.raises(InputError, match=f"from 0 to {last - 3}"):
        page_pictures.parse_seed(str(last - 2), 4)


def test_classes_are_chosen_or_taken_in_turn(conditional):
    view = View(conditional)
    assert view.classes == [0, 1, 2] and list(view.heads) == [8, 16, 32] and not view.truncates
    assert view.choices == [("0", 0), ("1", 1), ("2", 2)]
    for chosen, labels in ((2, [2, 2, 2, 2]), (IN_TURN, [1, 2, 0, 1])):
        images, _ = view.samples("4", 4, chosen, 1.0)
        right = expected(conditional, range(4, 8), np.asarray(labels, np.int32))
        np.testing.assert_allclose(images, right, atol=1)
    in_turn, first, second = (view.look("4", c, 1.0, 8, 1) for c in (IN_TURN, 0, 1))
    np.testing.assert_array_equal(in_turn, second)
    assert np.any(first != second)
    view.between("4", "5", 50, 2, 1.0)


def test_pictures_are_described_by_seed_and_class(small, tiny_gat):
    view = View(of_network(tiny_gat))
    assert view.words("4", 1, None, IN_TURN) == "Seed 4, class food-drink"
    words = view.words("3", 4, 2, 0)
    assert words == "4 images of seeds 3 to 6; chosen: seed 5, class flags"
    assert View(small).words(7, 1, None, None) == "Seed 7" and view.class_words(4, 2)


def test_outside_of_the_grid_is_no_image():
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert page_pictures.index_at(-3, 10, images) is page_pictures.index_at(5, -1, images) is None
    assert page_pictures.index_at(0, 0, images) == 0


def test_psi_truncates_a_generator_with_a_mean_style():
    source = of_network(Truncating())
    view = View(source)
    assert view.truncates
    full, _ = view.samples("0", 4, None, 1.0)
    np.testing.assert_allclose(full, expected(source, range(4)), atol=1)
    none, _ = view.samples("0", 4, None, 0.0)
    assert np.ptp(none, axis=0).max() == 0 and np.ptp(full, axis=0).max() > 0


def test_a_closer_look_at_a_ladagan_with_a_mapping_is_truncated_too():
    network = perturbed(Generator(**SIZES, modulation="vitgan_sln"))
    view = View(of_network(network))
    assert view.truncates and view.heads
    for psi in (1.0, 0.3):
        look = view.look("3", None, psi, 8, 1)
        side, right = look.shape[0], pictures.to_uint8(network(seeds.latents([3], 8), psi=psi))[0]
        shown = look[:, :side][:: side // 32, :: side // 32]
        np.testing.assert_allclose(shown, right.astype(int), atol=1)


def test_a_gat_is_shown_by_class_and_psi(tiny_gat):
    source = of_network(tiny_gat)
    view = View(source)
    assert view.truncates and view.classes == [0, 1, 2] and not view.heads
    assert view.choices == [("flags", 0), ("food-drink", 1), ("crane, machine", 2)]
    z, labels = seeds.latents(range(4), 8), np.full(4, 2, np.int32)
    for psi in (1.0, 0.5):
        images, _ = view.samples("0", 4, 2, psi)
        right = pictures.to_uint8(tiny_gat(z, labels, psi=psi)).astype(int)
        np.testing.assert_allclose(images, right, atol=1)
    closer = view.look("3", 2, 0.5, None, None)[::26, ::26]
    np.testing.assert_allclose(closer, right[3], atol=1)


def test_a_closer_look_is_the_image_beside_the_chosen_head(small):
    view = View(small)
    assert view.heads == {8: 2, 16: 2, 32: 2}
    image = expected(small, [3])[0]
    looks = {(s, h): view.look("3", None, 1.0, s, h) for s in view.heads for h in (1, 2)}
    assert len({look.tobytes() for look in looks.values()}) == len(looks)
    _, maps = small.network.attention_maps(seeds.latents([3], 8))
    for (side, head), look in looks.items():
        height = look.shape[0]
        factor = height // 32
        shown, overlay = look[:, :height], look[:, -height:]
        np.testing.assert_allclose(shown[::factor, ::factor], image, atol=1)
        weights = np.asarray(maps[(8, 16, 32).index(side)])[0, head - 1]
        row, column = divmod(int(weights.argmax()), side)
        token = height // side
        brightest = overlay[row * token : (row + 1) * token, column * token : (column + 1) * token]
        assert brightest.mean() > overlay.mean()


def test_the_way_between_two_seeds_starts_and_ends_at_them(small):
    view = View(small)
    for position, seed in ((0, 5), (page_pictures.STEPS, 2)):
        image = view.between("5", "2", position, None, 1.0)
        np.testing.assert_allclose(image[::13, ::13], expected(small, [seed])[0], atol=1)
    middle = view.between("5", "2", page_pictures.STEPS // 2, None, 1.0)[::13, ::13]
    z = walks.walk(seeds.latents([5, 2], 8), 2)[1:2]
    np.testing.assert_allclose(middle, pictures.to_uint8(small.generate(z))[0].astype(int), atol=1)


def test_latents_are_truncated_for_every_picture(small):
    view, narrow = View(small), small.within(0.5)
    images, _ = view.samples("7", 4, None, 1.0, 0.5)
    z = seeds.latents(range(7, 11), 8, 0.5)
    assert np.abs(z).max() <= 0.5 < np.abs(seeds.latents(range(7, 11), 8)).max()
    right = pictures.to_uint8(small.generate(z)).astype(int)
    np.testing.assert_allclose(images, right, atol=1)
    looked = view.look("7", None, 1.0, 8, 1, 0.5)
    factor = looked.shape[0] // 32
    np.testing.assert_allclose(looked[::factor, : 32 * factor : factor], right[0], atol=1)
    for position, index in ((0, 0), (page_pictures.STEPS, 1)):
        between = view.between("7", "8", position, None, 1.0, 0.5)
        np.testing.assert_allclose(between[::13, ::13], right[index], atol=1)
    moved = View(narrow).moved("7", [0.0] * 8, None, 1.0)
    np.testing.assert_allclose(moved[::13, ::13], right[0], atol=1)


def test_a_seed_moves_along_the_principal_directions(small, tiny_gat):
    view = View(small)
    found, _ = directions.principal_directions(small.network, 8)
    steps = np.float64([0, -1.5, 0, 0, 3, 0, 0, 0])
    z = seeds.latents([3], 8) + (-1.5 * found[1] + 3 * found[4])
    right = pictures.to_uint8(small.generate(z.astype(np.float32)))[0].astype(int)
    np.testing.assert_allclose(view.moved("3", steps, None, 1.0)[::13, ::13], right, atol=1)
    for wrong in (3.25, float("nan"), None, "1"):
        with pytest.raises(InputError, match=r"is not from -3 to 3\.$"):
            view.moved("3", [wrong, *steps[1:]], None, 1.0)


def test_a_gat_moves_along_its_styles_of_a_class(tiny_gat):
    view = View(of_network(tiny_gat))
    found, deviations = directions.style_directions(tiny_gat.generator, 1, view.directions)
    steps = np.zeros(view.directions)
    steps[1] = -1.5
    style = tiny_gat.generator.style(seeds.latents([3], 8), np.int32([1]))
    for psi in (1.0, 0.5):
        moved, mean = style - 1.5 * deviations[1] * found[1], tiny_gat.mean_style[1]
        right = pictures.to_uint8(tiny_gat.of_style(mean + psi * (moved - mean)))[0].astype(int)
        shown = view.moved("3", steps, 1, psi)
        np.testing.assert_allclose(shown[:: len(shown) // 16, :: len(shown) // 16], right, atol=1)
    assert not View(of_network(tiny_gat, guidance=2.0)).directions


def test_a_position_off_the_way_and_a_head_that_is_not_there_are_one_line(small):
    view = View(small)
    for position in (-0.1, page_pictures.STEPS + 1, float("nan"), None, "50"):
        with pytest.raises(InputError, match="is not a number from 0 to 100"):
            view.between("0", "1", position, None, 1.0)
    near, exact = (view.between("0", "1", position, None, 1.0) for position in (49.6, 50))
    np.testing.assert_array_equal(near, exact)
    for side, head in ((7, 1), (8, 3), (8, 0), (None, 1), (8, 1.5)):
        with pytest.raises(InputError, match="There is no head"):
            view.look("0", None, 1.0, side, head)


@pytest.mark.parametrize("count", [1, 4, 9, 25, 64])
def test_the_image_that_is_clicked_is_framed(count):
    images = np.zeros((count, 32, 32, 3), np.uint8)
    for chosen in range(count):
        sheet = page_pictures.framed_grid(images, chosen)
        rows, columns = np.nonzero((sheet == page_pictures.CHOSEN).all(-1))
        centre = columns.mean(), rows.mean()
        assert page_pictures.index_at(*centre, images) == chosen
        for corner in ((0, 0), (sheet.shape[1] - 1, sheet.shape[0] - 1)):
            assert page_pictures.index_at(*corner, images) == (0 if corner == (0, 0) else count - 1)
