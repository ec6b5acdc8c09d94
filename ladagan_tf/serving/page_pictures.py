"""What the demo page shows, as functions of what is typed and chosen on it; no web in here."""

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds, walks
from ladagan_tf.sampling.directions import principal_directions, style_directions

WIDE, NARROW = 680, 420  # pixels that pictures are enlarged to at most, by whole factors
BATCH_SIZE = 32
STEPS = 100  # positions between two seeds
IN_TURN = "in turn"
DIRECTIONS, FARTHEST = 8, 3.0  # how many are offered; standard deviations to either side
CHOSEN = (79, 70, 229)  # the frame of the chosen image


class View:
    """The pictures of one generator.

    Seeds are texts, as typed. `chosen_class` is a class number, `IN_TURN` (a seed's class is the
    seed modulo their number), or None for an unconditional generator. `psi` truncates those that
    have a mean style, see `Sampler.at`; `truncation_z` the latents, see `Sampler.within`, and None
    does not. `directions` is how many principal directions it can be moved along, of a LadaGAN's
    tokens or of a GAT's styles; 0 of others.
    """

    def __init__(self, sampler):
        self.sampler = sampler
        self.truncates = sampler.truncated is not None
        self.classes = list(range(sampler.num_classes))
        names = sampler.class_names or [str(number) for number in self.classes]
        self.choices = [*zip(names, self.classes, strict=True)]  # as people see them, and numbers
        self.styled = None  # the generator from styles, of which `moved` makes its images
        if sampler.has_styles and sampler.about.get("guidance", 1.0) == 1.0:
            self.styled = sampler.styled()
        moves = self.styled or (hasattr(sampler.network, "latent_to_tokens") and sampler)
        self.directions = min(DIRECTIONS, moves.noise_dim) if moves else 0
        self._known = {}  # what `_deviations` returned, by class
        self.heads = {}  # by side of the token grid
        if getattr(sampler.network, "has_attention_maps", False):
            _, maps = self._attend(0, self._first_class())
            self.heads = {_side(weights): len(weights) for weights in maps}

    def samples(self, seed, count, chosen_class, psi, truncation_z=None):
        """Images of `count` seeds in a row, uint8 (count, S, S, 3), and the first of them.

        Args:
            seed: text or int, the first seed.
            count: int.
            chosen_class: int, `IN_TURN` or None.
            psi, truncation_z: floats; the latter or None.
        """
        first = parse_seed(seed, count)
        numbers = range(first, first + count)
        z = self._latents(numbers, truncation_z)
        return self._images(z, self._labels(numbers, chosen_class), psi), first

    def look(self, seed, chosen_class, psi, side, head, truncation_z=None):
        """The image of a seed and, where the generator shows it, what a head attends to.

        Args:
            side: int, of the token grid.
            head: int, from 1.

        Returns:
            uint8 array (H, W, 3).

        Raises:
            InputError: if the seed is none, or there is no such head.
        """
        number = parse_seed(seed)
        if not self.heads:
            images, _ = self.samples(seed, 1, chosen_class, psi, truncation_z)
            return enlarged(images[0], NARROW)
        if head not in range(1, self.heads.get(side, 0) + 1):
            raise InputError(f"There is no head {head!r} at resolution {side!r}.")
        image, maps = self._attend(number, chosen_class, psi, truncation_z)
        (weights,) = [m for m in maps if _side(m) == side]
        big = enlarged(pictures.to_uint8(image), NARROW // 2)
        sheet = pictures.attention_sheet(big[None], [weights[None, head - 1 : head]])
        return sheet[pictures.HEADER :]

    def between(self, start, end, position, chosen_class, psi, truncation_z=None):
        """The image at a `position` from 0 to `STEPS` on the great circle from `start` to `end`.

        Args:
            start, end: texts or ints, seeds.
            position: float; the nearest whole one is shown.
            chosen_class, psi, truncation_z: see `samples`.

        Raises:
            InputError: if the position is not on the way, or a seed is none.
        """
        if not isinstance(position, int | float) or not 0 <= position <= STEPS:
            raise InputError(f"The position {position!r} is not a number from 0 to {STEPS}.")
        position = round(position)
        ends = [parse_seed(start), parse_seed(end)]
        path = walks.walk(self._latents(ends, truncation_z), STEPS)
        z = path[position : position + 1]
        return enlarged(self._images(z, self._labels(ends[:1], chosen_class), psi)[0], NARROW)

    def moved(self, seed, steps, chosen_class, psi, truncation_z=None):
        """The image of a seed, moved along the principal directions.

        Args:
            seed: text or int.
            steps: sequence of `directions` floats, standard deviations along each.
            chosen_class, psi, truncation_z: see `samples`.

        Raises:
            InputError: if the seed is none, or a step is beyond `FARTHEST`.
        """
        number = parse_seed(seed)
        for step in steps:
            if not isinstance(step, int | float) or not abs(step) <= FARTHEST:
                raise InputError(f"The step {step!r} is not from -{FARTHEST:g} to {FARTHEST:g}.")
        z = self._latents([number], truncation_z)
        labels = self._labels([number], chosen_class)
        source, label = self.sampler, None
        if self.styled:
            source, label = self.styled, labels[0].item()
            z = np.asarray(self.sampler.network.generator.style(z, labels))
        z = (z + np.float64(steps) @ self._deviations(label)).astype(np.float32)
        return enlarged(self._images(z, labels, psi, source)[0], NARROW)

    def _deviations(self, label):
        """One standard deviation along each direction: float64 (K, Z), of styles (K, C)."""
        if label not in self._known:
            if label is None:
                found, _ = principal_directions(self.sampler.network, self.directions)
            else:
                gat = self.sampler.network.generator
                found, deviations = style_directions(gat, label, self.directions)
                found = found * deviations[:, None]
            self._known[label] = found
        return self._known[label]

    def words(self, seed, count, chosen, chosen_class):
        """What a picture shows, for those who do not see it.

        Args:
            seed: text or int, the first seed.
            count: int, images.
            chosen: int, index of the one with a frame; None without one.
            chosen_class: see `samples`.
        """
        first = parse_seed(seed, count)
        if count == 1:
            return f"Seed {first}{self.class_words(first, chosen_class)}"
        shown = first + chosen
        said = f"{count} images of seeds {first} to {first + count - 1}; "
        return f"{said}chosen: seed {shown}{self.class_words(shown, chosen_class)}"

    def class_words(self, seed, chosen_class):
        """The class of a seed as ", class NAME"; empty without classes. Arguments as of `words`."""
        labels = self._labels([parse_seed(seed)], chosen_class)
        return "" if labels is None else f", class {self.choices[labels[0]][0]}"

    def _first_class(self):
        return IN_TURN if self.classes else None

    def _labels(self, numbers, chosen_class):
        if chosen_class is None:
            return None
        classes = self.classes if chosen_class == IN_TURN else [chosen_class]
        return walks.labels_in_turn(numbers, classes)

    def _latents(self, numbers, truncation_z):
        source = self.sampler if truncation_z is None else self.sampler.within(truncation_z)
        return source.latents(numbers)

    def _images(self, z, labels, psi, source=None):
        source = source or self.sampler
        source = source.at(psi) if self.truncates else source
        return np.concatenate(
            list(walks.image_batches(source, z, labels, source.affordable(BATCH_SIZE)))
        )

    def _attend(self, number, chosen_class, psi=1.0, truncation_z=None):
        """Float image (S, S, 3) and attention (H, N) at each resolution, of a seed."""
        z = self._latents([number], truncation_z)
        labels = self._labels([number], chosen_class)
        images, maps = self.sampler.network.attention_maps(
            *([z] if labels is None else [z, labels]), psi=psi if self.truncates else 1.0
        )
        return np.asarray(images)[0], [np.asarray(weights, np.float32)[0] for weights in maps]


def _side(weights):
    return round(weights.shape[-1] ** 0.5)


def parse_seed(text, count=1):
    """A seed as typed, the first of `count`.

    Raises:
        InputError: if it is no number, or it or one of the seeds after it is out of range.
    """
    text, most = str(text).strip(), seeds.MAX_SEED + 1 - count
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= most):
        shown = text if len(text) <= 24 else text[:24] + "..."
        raise InputError(f"The seed {shown!r} is not a whole number from 0 to {most}.")
    return int(text)


def enlarged(image, width):
    """Repeats pixels by the largest whole factor that keeps within a width."""
    return pictures.enlarged(image, pictures.factor_within(image.shape[1], width))


def framed_grid(images, chosen):
    """A grid, enlarged, with a frame around one image; white outside of it."""
    columns, margin = pictures.square_columns(len(images)), pictures.MARGIN
    sheet = np.pad(
        pictures.grid(images, columns),
        ((margin, margin), (margin, margin), (0, 0)),
        constant_values=255,
    )
    pitch = images.shape[1] + margin
    top, left = chosen // columns * pitch, chosen % columns * pitch
    size = pitch + margin
    frame = sheet[top : top + size, left : left + size]
    image = frame[margin:-margin, margin:-margin].copy()
    frame[:] = CHOSEN
    frame[margin:-margin, margin:-margin] = image
    return enlarged(sheet, WIDE)


def index_at(x, y, images):
    """Which image of a `framed_grid` is at the pixel x, y: int; `images` are those of the grid.

    None outside of it, where a button that is pressed by a key is said to be.
    """
    if x < 0 or y < 0:
        return None
    columns, side = pictures.square_columns(len(images)), images.shape[1]
    pitch, rows = side + pictures.MARGIN, -(-len(images) // columns)
    factor = pictures.factor_within(columns * pitch + pictures.MARGIN, WIDE)
    row, column = (min(int(v) // factor // pitch, n - 1) for v, n in ((y, rows), (x, columns)))
    return min(row * columns + column, len(images) - 1)
