"""The folder in which a set is made, and what it keeps when that is not finished.

A shard is complete once a `.jsonl` lies beside it, which lists the items it was made of. The next
run takes over the first shards as they are while their items are those of the source, and single
records of the others: what has changed since, as a file that was mended, is converted anew.
"""

import contextlib
import dataclasses
import fcntl
import glob
import hashlib
import itertools
import json
import os
import re
import shutil
import sys

import tensorflow as tf

from ladagan_tf import files
from ladagan_tf.data.dataset_info import RECORD_BYTES, Shard
from ladagan_tf.data.records import Record
from ladagan_tf.data.source import printable
from ladagan_tf.errors import InputError, reason
from ladagan_tf.locks import UNKNOWN

# Large enough for fast sequential reads, small enough that a set too large for memory has many
# shards to interleave.
_AUTO_SHARD_BYTES = 64 * 2**20
_IDENTITY_NAME = "unfinished.json"
_SHARD, _LIST = ".tfrecord", ".jsonl"
_OWN, _OLD = "records", "kept"  # shards of this run's order, and of an order that is past
# What a set's folder holds, with what is left of its making where that was killed.
_MADE = re.compile(
    rf"\.?(dataset|unfinished|({_OWN}|{_OLD})-\d+)(-[0-9a-f]{{8}})?\.(json|jsonl|tfrecord)|\.lock"
)


@contextlib.contextmanager
def hidden_folder(out):
    """Yields a folder beside `out` that only this process uses.

    If it is not renamed, complete shards in it stay for the next run, and all else is deleted. The
    lock is on the folder itself and ends with the process, however it ends, so what a killed run
    left behind is told apart from a run still going on, which is waited for.

    Raises:
        InputError: if it cannot be made, or a folder of that name is there with other things in it.
    """
    folder = out.parent / f".{out.name}.preparing"
    handle = None
    with files.writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        while handle is None:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            handle = _locked(folder)
        if other := foreign(folder):
            os.close(handle)
            raise InputError(
                f"{folder}: {other} in it was not made by prepare, which needs a folder of this "
                "name; rename it"
            )
    try:
        yield folder
    finally:
        if _is_at(handle, folder):  # not renamed
            if shards := _delete_incomplete(folder):
                kept = f"{shards} complete shard{'s' * (shards > 1)}"
                print(f"{folder} keeps {kept}; the same again goes on from there", file=sys.stderr)
            else:
                shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def foreign(folder):
    """The name of something in `folder`, which is to be cleared, that is of no set; None if all is.

    Args:
        folder: pathlib.Path.
    """
    for entry in sorted(folder.iterdir()):
        if not (_MADE.fullmatch(entry.name) and entry.is_file()):
            return printable(entry.name)
    return None


def _locked(folder):
    """Waits for the lock on `folder`: an open descriptor, or None if the folder went meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in UNKNOWN:  # without locks `locks.locked` has warned
            os.close(handle)
            raise
    if _is_at(handle, folder):
        return handle
    os.close(handle)  # another process finished it or gave it up
    return None


def _is_at(handle, folder):
    """Whether the folder open as `handle` is still the one at the path `folder`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


class ShardWriter:
    """Writes records to consecutive shards `records-00000.tfrecord`, ... of a folder.

    The shards are complete once `close` has returned; `dataset_info.write_info` comes after that,
    so a folder with a `dataset.json` is a finished one.

    Args:
        folder: existing pathlib.Path.
        count: int, number of items expected.
        shards: number of shards, at most `count`, of equal record counts (the last ones have fewer
            if fewer records come); None starts a new shard every 64 MiB.
    """

    def __init__(self, folder, count, shards=None):
        self._folder = folder
        self._count = count
        self._num_shards = shards
        self._total = 0  # records, over all shards
        self._shards = []
        self._writer = None  # of the shard being written, with its path, payload bytes and records
        self._path = None
        self._bytes = 0
        self._records = 0
        self._listed = []  # JSON of the items since the last shard

    def adopt(self, shard):
        """Counts a complete `Shard` that has the right name already."""
        self._shards.append(shard)
        self._total += shard.records

    def write(self, record):
        """Appends one `Record`; one with a problem is only listed.

        Raises:
            InputError: if the disk is full, or cannot be written to.
        """
        self._listed.append(_to_json(record))
        if record.problem:
            return
        with _writing(self._folder):
            if self._writer is None:
                self._path = self._folder / f"{_OWN}-{len(self._shards):05d}{_SHARD}"
                self._writer = tf.io.TFRecordWriter(str(self._path))
            self._writer.write(record.data)
        self._total += 1
        self._records += 1
        self._bytes += len(record.data)
        if self._num_shards is None:
            full = self._bytes >= _AUTO_SHARD_BYTES
        else:
            full = self._total >= (len(self._shards) + 1) * self._count // self._num_shards
        if full:
            self._finish_shard()

    def close(self):
        """Finishes the last shard.

        Returns:
            Tuple of `Shard`.

        Raises:
            InputError: as `write`.
        """
        if self._writer is not None:
            self._finish_shard()
        return tuple(self._shards)

    def _finish_shard(self):
        with _writing(self._folder):
            self._writer.close()
            size = self._path.stat().st_size
            listed = "".join(self._listed)
            files.write_text(self._path.with_suffix(_LIST), f"{_sha256(listed)}\n{listed}")
        self._shards.append(Shard(self._path.name, size, self._records))
        self._writer, self._bytes, self._records, self._listed = None, 0, 0, []


@contextlib.contextmanager
def _writing(folder):
    """An error of the file system, in TensorFlow's words too, as one line."""
    try:
        with files.writing(folder):
            yield
    except tf.errors.OpError as error:
        raise InputError(f"out={folder}: it cannot be written ({reason(error)})") from None


def _sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _to_json(record):
    content = vars(record) | {"data": len(record.data)}
    return json.dumps(list(content.values())) + "\n"


@dataclasses.dataclass
class _KeptShard:
    """A complete shard: its path, size in bytes, and its `Record`s, with lengths for data."""

    path: object
    size: int
    records: list

    @property
    def shard(self):
        return Shard(self.path.name, self.size, sum(not record.problem for record in self.records))


class Kept:
    """What an earlier run has left in a folder.

    Args:
        folder: pathlib.Path, the folder in which the set is made. Whatever is in it that belongs to
            no complete shard, or to a set of another identity, is deleted.
        identity: dict of plain values, all that a record depends on beside its item.
    """

    def __init__(self, folder, identity):
        self._folder = folder
        self._places = {}  # name -> (path, position in the file, record)
        with files.writing(folder):
            path, text = folder / _IDENTITY_NAME, _text_of(identity)
            if not path.is_file() or path.read_bytes() != text.encode():
                for entry in folder.iterdir():
                    entry.unlink()
                files.write_text(path, text)
            _delete_incomplete(folder)
        found = map(_kept_shard, sorted(folder.glob(f"*{_LIST}")))
        self._shards = [shard for shard in found if shard]

    def adopt(self, items, writer, skip_bad):
        """Takes over as many first shards as consist of the first items.

        Args:
            items: iterable of `source.Item`.
            writer: ShardWriter that has written nothing yet.
            skip_bad: whether items that could not be used are taken over as such too.

        Returns:
            (list of `Record`s taken over, iterator over the items behind them).
        """
        items, adopted = iter(items), []
        for shard in [shard for shard in self._shards if shard.path.name.startswith(_OWN)]:
            ahead = list(itertools.islice(items, len(shard.records)))
            same = len(ahead) == len(shard.records) and all(map(_is_of, shard.records, ahead))
            if not same or (not skip_bad and any(record.problem for record in shard.records)):
                items = itertools.chain(ahead, items)
                break
            writer.adopt(shard.shard)
            adopted += shard.records
            self._shards.remove(shard)
        with files.writing(self._folder):
            self._make_room()
        for shard in self._shards:
            position = 0
            for record in shard.records:
                if not record.problem:
                    self._places[record.name] = (shard.path, position, record)
                    position += record.data + RECORD_BYTES
        return adopted, items

    def _make_room(self):
        """Renames the shards that were not adopted, whose names are wanted for new ones."""
        taken = [shard.path.stem for shard in self._shards if shard.path.name.startswith(_OLD)]
        number = 1 + max((int(stem.rpartition("-")[2]) for stem in taken), default=-1)
        for shard in self._shards:
            if shard.path.name.startswith(_OWN):
                path = self._folder / f"{_OLD}-{number:05d}{_SHARD}"
                shard.path.rename(path)
                shard.path.with_suffix(_LIST).rename(path.with_suffix(_LIST))
                shard.path, number = path, number + 1

    def find(self, item):
        """Where the record of a `source.Item` is, as `read` takes it; None if there is none."""
        place = self._places.get(item.name)
        return place if place and _is_of(place[2], item) else None

    def read(self, place):
        """The `Record` at a place."""
        path, position, record = place
        with open(path, "rb") as file:
            file.seek(position + RECORD_BYTES - 4)  # 12 of these bytes lie before, 4 behind it
            return dataclasses.replace(record, data=file.read(record.data))

    def forget(self):
        """Deletes all but the shards that were adopted or written since, and their lists."""
        for path in self._folder.iterdir():
            if not path.name.startswith(_OWN) and path.name != _IDENTITY_NAME:
                path.unlink()


def forget_lists(folder):
    """Deletes what only the making of a set needs; it harms nothing where that fails.

    Args:
        folder: pathlib.Path of the finished set.
    """
    with contextlib.suppress(OSError):
        for path in (folder / _IDENTITY_NAME, *folder.glob(f"{_OWN}-*{_LIST}")):
            path.unlink(missing_ok=True)


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the parts of a set that processes make, each for itself.

    Args:
        index: int from 0.
        count: int, how many parts there are.
    """

    index: int
    count: int

    def folder(self, out):
        """Where the part of the set `out` is put: pathlib.Path."""
        return out.with_name(f"{out.name}.shard-{self.index}-of-{self.count}")

    def of(self, images, batch):
        """The part's images: a `source.Source` of consecutive ones.

        Args:
            images: `source.Source`.
            batch: int, of which a part begins at a multiple: what is computed together in one
                process is so in parts, too, and each record the same.
        """
        first, last = (
            i * images.count // self.count // batch * batch for i in (self.index, self.index + 1)
        )
        if self.index + 1 == self.count:
            last = images.count
        return dataclasses.replace(
            images,
            count=last - first,
            items=lambda: itertools.islice(images.items(), first, last),
        )


def is_part(folder, identity):
    """Whether a folder is a finished part of the set of this identity; False if there is none.

    Raises:
        InputError: if it is of another set, or something else.
    """
    if not folder.exists():
        return False
    path = folder / _IDENTITY_NAME
    if not path.is_file() or path.read_bytes() != _text_of(identity).encode():
        raise InputError(
            f"{folder}: it is no part of this set, of these flags and images; delete it"
        )
    return True


def gather(out, folder, identity):
    """Links the shards of all parts of a set into the folder in which it is made, in order.

    Args:
        out: pathlib.Path of the set, beside which its parts lie.
        folder: pathlib.Path of `hidden_folder`; what is in it goes.
        identity: see `Kept`.

    Returns:
        List of the parts' folders.

    Raises:
        InputError: naming parts that are missing, or of another set.
    """
    found = [
        Part(int(match[1]), int(match[2]))
        for path in out.parent.glob(f"{glob.escape(out.name)}.shard-*")
        if (match := re.fullmatch(r"\.shard-(\d+)-of-(\d+)", path.name.removeprefix(out.name)))
    ]
    counts = sorted({part.count for part in found})
    if len(counts) != 1:
        numbers = ", ".join(map(str, counts))
        what = f"parts of {numbers} shards beside it; delete those that do not count"
        raise InputError(f"out={out}: {what if counts else 'no part of --shard beside it'}")
    (count,) = counts
    if missing := sorted(set(range(count)) - {part.index for part in found}):
        names = ", ".join(f"--shard={i}/{count}" for i in missing)
        raise InputError(f"out={out}: not finished yet: {names}")
    folders = [Part(i, count).folder(out) for i in range(count)]
    for part in folders:
        is_part(part, identity)
    with files.writing(out):
        for path in folder.iterdir():
            path.unlink()
        shards = [path for part in folders for path in sorted(part.glob(f"{_OWN}-*{_SHARD}"))]
        for number, path in enumerate(shards):
            for kind in (_SHARD, _LIST):
                source, place = path.with_suffix(kind), folder / f"{_OWN}-{number:05d}{kind}"
                try:
                    os.link(source, place)
                except OSError:  # a file system without
                    shutil.copyfile(source, place)
        files.write_text(folder / _IDENTITY_NAME, _text_of(identity))
    return folders


def _text_of(identity):
    return json.dumps(identity, sort_keys=True)


def _kept_shard(path):
    """The complete shard that the list at `path` describes; None if either is damaged."""
    sha256, _, text = path.read_text(encoding="utf-8", errors="replace").partition("\n")
    if sha256 != _sha256(text):
        return None
    listed = [Record(*json.loads(line)) for line in text.splitlines()]
    shard = path.with_suffix(_SHARD)
    size = sum(record.data + RECORD_BYTES for record in listed if not record.problem)
    return _KeptShard(shard, size, listed) if shard.stat().st_size == size else None


def _is_of(record, item):
    label = -1 if item.label is None else item.label
    return (record.name, record.stamp, record.label) == (item.name, item.stamp, label)


def _delete_incomplete(folder):
    """Deletes what is no complete shard, and returns how many shards there are."""
    complete = {path.stem for path in folder.glob(f"*{_LIST}")}
    complete &= {path.stem for path in folder.glob(f"*{_SHARD}")}
    for path in folder.iterdir():
        if path.stem not in complete and path.name != _IDENTITY_NAME:
            path.unlink()
    return len(complete)
