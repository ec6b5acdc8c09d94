"""Images to what metrics need of them, in one pass; references are cached with their protocol."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

from ladagan_tf import zoo
from ladagan_tf.data.source import printable
from ladagan_tf.devices import replicated
from ladagan_tf.errors import InputError, one_line_about, warn
from ladagan_tf.evaluation import metrics
from ladagan_tf.evaluation.frechet import check_covariance
from ladagan_tf.evaluation.images import Images, open_images
from ladagan_tf.evaluation.sliced import PatchBank
from ladagan_tf.evaluation.statistics import Moments
from ladagan_tf.files import atomic_path, cache_folder, check_writable, sha256_of, writing
from ladagan_tf.progress import progress_bar
from ladagan_tf.untrusted import read_npz

CACHE_VERSION = 1  # raise it when what a cached array means changes
BANKS = ("features", "logits")  # of a cached reference, where a metric needs them
SAMPLE_SEED = 2020
_CACHED = (
    "count",
    "mean",
    "covariance",
    "spatial_mean",
    "spatial_covariance",
    "class_counts",
    "features",
    "logits",
)


ALL = sys.maxsize


def sampled_rows(count, most):
    """Which of `count` images stand for all: every one, or `most` of them drawn by a fixed seed.

    Returns:
        int array, ascending.
    """
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.RandomState(SAMPLE_SEED).choice(count, most, replace=False))


@dataclasses.dataclass(frozen=True)
class Needs:
    """What to keep of each image beside the moments; a bank grows with the number of images.

    Attributes:
        features: int, the most rows of features (N, D) to keep, drawn as `sampled_rows`: for KID,
            precision/recall, density/coverage; `ALL` keeps every row.
        logits: bool, logits (N, C), for the Inception Score.
        patches: bool, patches for the sliced Wasserstein distance.
        spatial: bool, moments of spatial features, for sFID.
        path: bool, lengths of steps between latents, for PPL; of a generator only.
    """

    features: int = 0
    logits: bool = False
    patches: bool = False
    spatial: bool = False
    path: bool = False


@dataclasses.dataclass
class Collected:
    """What was gathered of a set of images.

    Attributes:
        count: int; None if unknown (statistics from a file).
        mean, covariance: float64 (D,) and (D, D); None without a feature network.
        spatial_mean, spatial_covariance: the same of spatial features; None unless asked for.
        class_counts: int64 (C,), images by their most likely class; None without logits.
        features, logits: float32 (N, D) and (N, C), if kept; features perhaps of fewer images.
        patches: PatchBank, if kept.
        path: float64 (N,), `metrics.path_lengths`, if asked for.
        images: images.Images beside moments from a file, for what compares image with image.
        nearest: (N, 5), what `metrics.nearest_squared` made of the features, once it was needed.
        about: dict, what a reference is, for the protocol.
    """

    count: int | None = None
    mean: np.ndarray | None = None
    covariance: np.ndarray | None = None
    spatial_mean: np.ndarray | None = None
    spatial_covariance: np.ndarray | None = None
    class_counts: np.ndarray | None = None
    features: np.ndarray | None = None
    logits: np.ndarray | None = None
    patches: PatchBank | None = None
    path: np.ndarray | None = None
    images: Images | None = None
    nearest: np.ndarray | None = None
    about: dict | None = None


def collect(
    images,
    extractor,
    needs,
    *,
    batch_size=64,
    strategy=None,
    jit=False,
    archive=None,
    progress=None,
):
    """Gathers what `needs` asks for in one pass over the images.

    Args:
        images: images.Images.
        extractor: features.Extractor; None where only patches are asked for.
        needs: Needs.
        batch_size: int, images per call of the network.
        strategy, jit: see `devices.replicated`.
        archive: function called with each uint8 batch, e.g. to save it; or None.
        progress: str shown beside a progress bar; None shows none.

    Returns:
        Collected.

    Raises:
        InputError: if the network does not take images of this size, or there are fewer than 2.
    """
    if images.count < 2:
        raise InputError(f"{images.count} images: statistics need at least 2")
    if extractor:
        extractor.check(images.resolution)
    patches = PatchBank(images.resolution, images.count) if needs.patches else None
    compute = extractor and _compiled(
        extractor.features, strategy or tf.distribute.get_strategy(), jit
    )
    moments = spatial = None
    features, logits, lengths, classes = [], [], [], 0
    drawn, seen = None, 0
    if 0 < needs.features < images.count:
        drawn = np.isin(np.arange(images.count), sampled_rows(images.count, needs.features))
    total = images.count * (2 if needs.path else 1)
    bar = progress_bar(total, "img", progress, **({} if progress else {"disable": True}))
    with bar, _full_precision():
        for batch in images.batches(batch_size):
            if archive:
                archive(batch)
            if patches:
                patches.add(batch)
            if compute:
                out = compute(batch)
                moments = moments or Moments(extractor.dimension)
                moments.add(out["features"])
                if needs.spatial:
                    spatial = spatial or Moments(out["spatial"].shape[1])
                    spatial.add(out["spatial"])
                if "logits" in out:
                    best = np.argmax(out["logits"], axis=1)
                    classes = classes + np.bincount(best, minlength=out["logits"].shape[1])
                if needs.features:
                    rows = slice(None) if drawn is None else drawn[seen : seen + len(batch)]
                    features.append(out["features"][rows])
                if needs.logits:
                    logits.append(out["logits"])
            seen += len(batch)
            bar.update(len(batch))
        for pair in images.steps(batch_size) if needs.path else ():
            lengths.append(metrics.path_lengths(*(compute(x)["features"] for x in pair)))
            bar.update(len(lengths[-1]))
    return Collected(
        count=images.count,
        mean=moments and moments.mean,
        covariance=moments and moments.covariance(),
        spatial_mean=spatial and spatial.mean,
        spatial_covariance=spatial and spatial.covariance(),
        class_counts=classes if np.ndim(classes) else None,
        features=np.concatenate(features) if features else None,
        logits=np.concatenate(logits) if logits else None,
        patches=patches,
        path=np.concatenate(lengths) if lengths else None,
    )


@functools.lru_cache(maxsize=1)
def _compiled(features, strategy, jit):
    """Kept from one set to the next, of a sweep or a run: Inception is not traced for each."""
    return replicated(features, strategy, jit)


@contextlib.contextmanager
def _full_precision():
    """Keeps GPUs from rounding float32 products to TF32, which moves features by 1e-3."""
    allowed = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(allowed)


def reference(images, extractor, needs, *, cache_dir=None, **how):
    """`collect` for the real images, computed once.

    What the network made of them is kept in `cache_dir`/references under a hash of everything it
    depends on: the images' content, size and number, and the network with its weights and resize.
    Patches need no network and are always taken anew. Where nothing can be kept, a warning says so,
    and they are computed all the same. Images without a hash of their content, as those of a
    generator, are always taken anew.

    Args:
        images, extractor, needs: see `collect`.
        cache_dir: folder; None is `files.cache_folder()`.
        **how: the other arguments of `collect`.

    Returns:
        (Collected, bool): whether the features came from the cache.
    """
    if extractor is None or "content_sha256" not in images.about:
        return collect(images, extractor, needs, **how), False
    key = json.dumps(cache_key(images, extractor), sort_keys=True)
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    path = (pathlib.Path(cache_dir) if cache_dir else cache_folder()) / "references" / f"{name}.npz"
    found = _load(path, key, needs)
    if found is None:
        can_be_kept = _kept(check_writable, path, "cache_dir")
        found = collect(images, extractor, needs, **how)
        if can_be_kept:
            _kept(_save, path, key, found)
        return found, False
    if needs.patches:
        found.patches = collect(images, None, Needs(patches=True), **how).patches
    return found, True


def cache_key(images, extractor):
    """What a reference depends on, as plain values."""
    paths = ("images", "file")  # where it lies changes nothing
    return {
        "version": CACHE_VERSION,
        "images": {k: v for k, v in images.about.items() if k not in paths},
        "features": {k: v for k, v in extractor.about.items() if k not in paths},
    }


def _kept(keep, *arguments):
    """Whether what only saves time could be kept; a warning says why not."""
    try:
        keep(*arguments)
    except InputError as error:
        warn(f"{error}; the reference is not kept")
        return False
    return True


def _save(path, key, found):
    arrays = {name: getattr(found, name) for name in _CACHED if getattr(found, name) is not None}
    with writing(path, "cache_dir"), atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, key=key, **arrays)


def _load(path, key, needs):
    """The cached reference; None if there is none, it is damaged, or it lacks a bank."""
    if not path.is_file():
        return None
    try:
        stored = read_npz(path)
        if str(stored.pop("key")) != key:
            return None
        checked_moments(stored["mean"], stored["covariance"])
        found = Collected(**{**stored, "count": int(stored["count"])})
    except (KeyError, TypeError, ValueError):
        return None
    rows = 0 if found.features is None else len(found.features)
    banks = {name: stored[name] for name in BANKS if stored.get(name) is not None}
    if any(bank.ndim != 2 or len(bank) > found.count for bank in banks.values()):
        return None
    lacks = (
        rows < min(needs.features, found.count)
        or (needs.logits and found.logits is None)
        or (needs.spatial and found.spatial_mean is None)
    )
    return None if lacks else found


def checked_moments(mean, covariance):
    """Both as float64; ValueError unless they are real, finite, (D,) and (D, D) a covariance."""
    if np.iscomplexobj(mean) or np.iscomplexobj(covariance):
        raise ValueError("mu or sigma is complex")
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    if mean.ndim != 1 or not mean.size or covariance.shape != 2 * mean.shape:
        raise ValueError(
            f"mu {mean.shape} and sigma {covariance.shape} do not fit; they must be (D,) and (D, D)"
        )
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError("mu or sigma is not finite")
    try:
        check_covariance(covariance)
    except InputError as error:
        raise ValueError(f"sigma: {error}") from None
    return mean, covariance


def open_real(name, count=None, with_images=False):
    """Real images as `--dataset` of `evaluate.py` names them, or what is known of them.

    Args:
        name: see `images.open_images`; an .npz of moments, see `given_moments`; or zoo:NAME, those
            of the training images of a model of the zoo, in the features of its classifier.
        count: int, the first so many images; None: all.
        with_images: bool, open the images beside the moments of an .npz too, for what compares
            images: ADM's files hold them.

    Returns:
        images.Images; or Collected, what `given_moments` returns.

    Raises:
        InputError: see both functions; and for a count of moments.
    """
    name = str(name)
    known = name
    if name.startswith(zoo.PREFIX):
        name = str(zoo.file_of(name, zoo.REFERENCE, "dataset"))
    if pathlib.Path(name).suffix == ".npz":
        found = given_moments(name)
        if found:
            if known != name:
                found.about["statistics"] = known
            if with_images:
                try:
                    found.images = open_images(name, count)
                except InputError as error:
                    raise InputError(
                        f"dataset={known}: these metrics need its images, but it holds mean and "
                        f"covariance only; give a prepared set, or --metrics=fid or fcd ({error})"
                    ) from None
            elif count:
                raise InputError(
                    f"num_real={count}: dataset={known} gives mean and covariance, not images; "
                    "leave num_real out"
                )
            return found
    return open_images(name, count)


def images_of(real):
    """The images.Images of what `open_real` returned; None where no more than moments is known."""
    return real.images if isinstance(real, Collected) else real


def given_moments(path):
    """Mean and covariance of a reference that others computed: an npz with `mu` and `sigma`.

    With `mu_s` and `sigma_s` too it has those of the spatial features; `count` may say of how many
    images.

    Such are the `VIRTUAL_*.npz` of ADM's evaluation and the statistics of pytorch-fid. Which
    network they belong to is not written in them: the user must know.

    Args:
        path: the .npz.

    Returns:
        Collected; None if the file has no `mu` and `sigma`.

    Raises:
        InputError: if there is no such file, or they do not fit together.
    """
    path, what = pathlib.Path(path), f"dataset={path}"
    arrays = read_npz(path, ("mu", "sigma", "mu_s", "sigma_s", "count"), what)
    if not {"mu", "sigma"} <= set(arrays):
        return None
    with one_line_about(what, "npz archive"):
        mean, covariance = checked_moments(arrays["mu"], arrays["sigma"])
    try:
        spatial = checked_moments(arrays["mu_s"], arrays["sigma_s"])
    except (KeyError, ValueError):  # not there, or something else under these names
        spatial = None, None
    count = arrays.get("count")
    known = count is not None and count.shape == () and count.dtype.kind in "iu"
    count = int(count) if known else None
    about = {
        "statistics": printable(str(path)),
        "file_sha256": sha256_of(path),
        "count": count or "not stored in the file",
    }
    return Collected(count, mean, covariance, *spatial, about=about)
