"""From the items of a source to records, in order: over several processes, and in batches."""

import collections
import concurrent.futures
import contextlib
import itertools
import multiprocessing
import signal
import sys
import types

from ladagan_tf.data import records
from ladagan_tf.data.conversion import Converted, convert_items
from ladagan_tf.errors import InputError, reason
from ladagan_tf.stopping import exit_with_parent

_ITEMS_PER_TASK = 32


def entries(items, read, conversion, workers, kept):
    """Yields for every item, in order, the `records.Record` kept of it, or else a `Converted`.

    Args:
        items, read: see `source.Source`.
        conversion: `conversion.Conversion`.
        workers: int >= 1, number of processes; 1 is this one alone.
        kept: `unfinished.Kept`.

    Raises:
        InputError: if worker processes cannot be started, or one dies.
    """

    def tasks():
        for task in _batched(items, _ITEMS_PER_TASK):
            places = [kept.find(item) for item in task]
            missing = [item for item, place in zip(task, places, strict=True) if place is None]
            yield places, missing

    def merged(places, converted):
        converted = iter(converted)
        for place in places:
            yield next(converted) if place is None else kept.read(place)

    if workers == 1:
        for places, missing in tasks():
            yield from merged(places, convert_items(read, conversion, missing))
        return
    # Spawned, because TensorFlow's threads in this process do not survive a fork.
    with _starting(workers):
        pool = concurrent.futures.ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=exit_with_parent
        )
    try:
        # Only a few tasks ahead: a task may carry encoded images.
        pending = collections.deque()
        for places, missing in tasks():
            with _starting(workers), _spawning():
                future = pool.submit(convert_items, read, conversion, missing)
            pending.append((places, future))
            if len(pending) > 4 * workers:
                places, future = pending.popleft()
                yield from merged(places, future.result())
        for places, future in pending:
            yield from merged(places, future.result())
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(
            f"workers={workers}: a worker process died, perhaps out of memory; try fewer"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def records_of(entries, encoding):
    """Yields a `records.Record` for each of the `entries`, in order.

    Args:
        entries: see `entries`.
        encoding: `latents.Encoding`, or None for records of images.
    """
    make = encoding.records if encoding else _image_records
    for group in _batched(entries, encoding.batch if encoding else _ITEMS_PER_TASK):
        usable = [entry for entry in group if isinstance(entry, Converted) and not entry.problem]
        made = iter(make(usable) if usable else ())
        for entry in group:
            if isinstance(entry, records.Record):
                yield entry
            elif entry.problem:
                yield records.Record(entry.name, entry.stamp, entry.label, entry.problem)
            else:
                yield next(made)


def _image_records(usable):
    """The `records.Record`s of a list of `Converted`."""
    return [
        records.Record(
            image.name,
            image.stamp,
            image.label,
            digest=image.digest.hex(),
            data=records.serialise(image.label, image.name, {"image": image.png}),
        )
        for image in usable
    ]


@contextlib.contextmanager
def _starting(workers):
    """What the system refuses, such as files or memory that processes share, as one line."""
    others = multiprocessing.active_children()
    try:
        yield
    except concurrent.futures.BrokenExecutor:
        raise
    except (OSError, RuntimeError) as error:  # "can't start new thread" is one of the latter
        for child in multiprocessing.active_children():
            if child not in others:  # nobody would tell it to end, and this process waits for it
                child.terminate()
        raise InputError(
            f"workers={workers}: processes cannot be started here ({_said(error)}); give "
            "--workers=1"
        ) from None


def _said(error):
    return getattr(error, "strerror", None) or reason(error)


@contextlib.contextmanager
def _spawning():
    """Processes that are spawned within it know neither this process's main module nor Ctrl-C.

    They need nothing from the module, and a command's imports TensorFlow: 3 s of each worker's
    time. Ctrl-C reaches all processes of a terminal, but it is for this one to answer.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        sys.modules["__main__"] = main


def _batched(items, size):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch
