"""Many images as files: folders, archives and animations, from batches that pass through memory."""

import contextlib
import hashlib
import io
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from ladagan_tf import extras
from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, vacant, write_text, writing
from ladagan_tf.pictures import save_png
from ladagan_tf.progress import progress_bar
from ladagan_tf.runs import SAMPLED_BY
from ladagan_tf.sampling.sampler import Sampler
from ladagan_tf.weights.keras_file import network_sha256

ABOUT = "samples.json"  # in a folder of images: which generator made them
ANIMATED = (".gif", ".mp4")
ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # or equal images would make different archives


def identity(sampler: Sampler) -> dict:
    """What tells generators apart, a dict: a digest of the weights; of a SavedModel, of its files.

    What they are truncated and guided by, and a stage, are a part of it; where they lie is not.
    """
    strength = {k: sampler.about[k] for k in SAMPLED_BY if k in sampler.about}
    if sampler.network is None:
        return {"files_sha256": sampler.about["files_sha256"], **strength}
    return {"weights_sha256": network_sha256(sampler.network), **strength}


def write_folder(path: str | os.PathLike, seeds: list[int], produce: Callable, about: dict) -> int:
    """Writes each seed's image as `seed00000000.png`; images that are there are kept.

    Args:
        path: a folder; made if it does not exist.
        seeds: list of ints.
        produce: function from a list of seeds to an iterator of uint8 batches (b, S, S, 3).
        about: dict, see `identity`.

    Returns:
        int, how many images were written.

    Raises:
        InputError: if images of another generator are there, or it cannot be written.
    """
    path = pathlib.Path(path)
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        _check_folder(path, about)
        missing = [s for s in dict.fromkeys(seeds) if not (path / _name(s)).exists()]
        names = iter(missing)
        for batch in _progress(produce(missing), len(missing)) if missing else ():
            for image in batch:
                save_png(path / _name(next(names)), image)
    return len(missing)


def _check_folder(path, about):
    note = path / ABOUT
    if not note.exists():
        if any(path.glob("seed*.png")):
            raise InputError(f"out={path}: images are in it, but no {ABOUT}; give another folder")
        write_text(note, json.dumps(about, indent=2) + "\n")
    elif note.read_text(errors="replace") != json.dumps(about, indent=2) + "\n":
        raise InputError(f"out={path}: images of another model are in it; give another folder")


def write_archive(
    path: str | os.PathLike,
    seeds: list[int],
    produce: Callable,
    side: int,
    about: dict,
    labels: np.ndarray | None = None,
) -> None:
    """Writes images as `.npz` (as ADM's evaluation reads it) or as `.zip` of PNGs.

    They are collected, uncompressed, in a hidden folder beside it, so that an interrupted call
    continues there, and put together at the end.

    Args:
        path: file to make, ending in .npz or .zip.
        seeds, produce, about: see `write_folder`.
        side: int, S.
        labels: int32 array (N,) to store as `arr_1` of an .npz, or None.

    Raises:
        InputError: if the file exists or cannot be written, or the hidden folder is another's.
    """
    path = vacant(path)
    spool = path.parent / f".{path.name}.partial"
    size = side * side * 3
    about = {**about, "seeds": hashlib.sha256(repr(seeds).encode()).hexdigest()}
    with writing(path):
        done = _resumed(spool, about, size)
        with open(spool / "images", "ab") as file:
            missing = seeds[done:]
            for batch in _progress(produce(missing), len(missing)) if missing else ():
                file.write(batch.tobytes())
        with open(spool / "images", "rb") as raw:
            if path.suffix == ".npz":
                with sample_archive(path, len(seeds), side, labels) as add:
                    while block := raw.read(2**20):
                        add(block)
            else:
                with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
                    _fill_zip(archive, raw, seeds, side)
        shutil.rmtree(spool)


def _resumed(spool, about, size):
    """Number of finished images in a spool folder of the same images; else empties it."""
    note, images = spool / ABOUT, spool / "images"
    text = json.dumps(about)
    if not (note.exists() and images.exists() and note.read_text(errors="replace") == text):
        for entry in spool.iterdir() if spool.exists() else ():
            if not re.fullmatch(r"images|\.?samples(-[0-9a-f]{8})?\.json", entry.name):
                raise InputError(f"{spool}: {entry.name} in it is not ours to clear; rename it")
        shutil.rmtree(spool, ignore_errors=True)
        spool.mkdir()
        images.touch()
        write_text(note, text)
    done = images.stat().st_size // size
    os.truncate(images, done * size)
    return done


@contextlib.contextmanager
def sample_archive(
    path: str | os.PathLike, count: int, side: int, labels: np.ndarray | None = None
) -> Iterator[Callable]:
    """Streams images into an .npz as ADM's evaluation reads it, `arr_0`, which appears at the end.

    Args:
        path: the .npz, made or replaced.
        count: int, images that will be added.
        side: int, S.
        labels: int32 array (count,) to store as `arr_1`, or None.

    Yields:
        Function that appends images: a uint8 array (b, S, S, 3), or the bytes of such.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(_entry("arr_0.npy"), "w", force_zip64=True) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda images: file.write(memoryview(images).cast("B"))
        if labels is not None:
            with archive.open(_entry("arr_1.npy"), "w") as file:
                np.lib.format.write_array(file, np.asarray(labels), allow_pickle=False)


def _fill_zip(archive, raw, seeds, side):
    """A file for each seed: of one that is named twice the second image is the first."""
    there = set()
    for seed in seeds:
        image = np.frombuffer(raw.read(side * side * 3), np.uint8).reshape(side, side, 3)
        if seed in there:
            continue
        there.add(seed)
        png = io.BytesIO()
        Image.fromarray(image).save(png, format="PNG")
        archive.writestr(_entry(_name(seed)), png.getvalue())


def _entry(name):
    entry = zipfile.ZipInfo(name, ZIP_DATE)
    entry.external_attr = 0o644 << 16
    return entry


def _name(seed):
    return f"seed{seed:08d}.png"


def _progress(batches, total):
    with progress_bar(total, "img") as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def write_animation(
    path: str | os.PathLike, batches: Iterator[np.ndarray], count: int, fps: float
) -> None:
    """Writes frames as an endless `.gif`, or as `.mp4` if imageio-ffmpeg is installed.

    An .mp4 has even sides: of odd ones the last row or column is there twice.

    Args:
        path: file to write or replace.
        batches: iterator of uint8 arrays (b, H, W, 3).
        count: int, number of frames.
        fps: float, frames per second; a GIF rounds their time to 1/100 s.
    """
    frames = (frame for batch in _progress(batches, count) for frame in batch)
    write = _write_gif if pathlib.Path(path).suffix == ".gif" else _write_mp4
    with writing(path), atomic_path(path) as temporary:
        write(temporary, frames, fps)


def _write_gif(path, frames, fps):
    write_gif(path, (Image.fromarray(frame) for frame in frames), fps)


def write_gif(path: str | os.PathLike, pages: Iterator[Image.Image], fps: float) -> None:
    """Writes an endless GIF.

    Args:
        path: file to write.
        pages: iterator of PIL.Images of one size; those in colour take a second each to find their
            256 colours, those with a palette keep it.
        fps: float, see `write_animation`.
    """
    duration = max(20, round(100 / fps) * 10)  # ms; viewers slow anything faster down
    next(pages).save(
        path, format="GIF", save_all=True, append_images=pages, duration=duration, loop=0
    )


def check_animation(path: str | os.PathLike, fps: float | None = None) -> None:
    """Raises InputError for an animation that cannot be written, or `fps` of what is none.

    Args:
        path: what is to be written; its ending may ask for a package that is not installed.
        fps: float, frames per second; None if none are asked for.
    """
    if fps is not None and pathlib.Path(path).suffix not in ANIMATED:
        raise InputError(f"--fps={fps:g}: it is for a {' or '.join(ANIMATED)}")
    if pathlib.Path(path).suffix == ".mp4":
        _ffmpeg()


def _ffmpeg():
    """The path of the program that comes with imageio-ffmpeg."""
    with extras.needed("out=NAME.mp4 (a .gif needs nothing)", "video"):
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()  # a package may come without the program


def _write_mp4(path, frames, fps):
    """Not by imageio, which does not look at how ffmpeg ended: on a full disk in half a file."""
    frames = map(_of_even_sides, frames)
    first = next(frames)
    read = f"-f rawvideo -pix_fmt rgb24 -s {first.shape[1]}x{first.shape[0]} -r {fps} -i - -an"
    written = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "10", str(path)]
    command = [_ffmpeg(), "-y", "-v", "error", *read.split(), *written]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            for frame in itertools.chain([first], frames):
                process.stdin.write(frame.tobytes())
        except BrokenPipeError:  # it says why it has ended
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        if process.wait():
            said.seek(0)
            raise OSError(f"ffmpeg: {said.read().decode(errors='replace').strip()}")


def _of_even_sides(frame):
    """A frame, with its last row or column twice where their number is odd, which H.264 has not."""
    height, width, _ = frame.shape
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
