"""Writing TFRecords into shards of a given number or size."""

import tensorflow as tf

from ladagan_tf.data.records import Shard

# Large enough for fast sequential reads, small enough that a set too large for memory has many
# shards to interleave.
_AUTO_SHARD_BYTES = 64 * 2**20


class ShardWriter:
    """Writes records to consecutive shards `records-00000.tfrecord`, ... of a folder.

    The shards are complete once `close` has returned; `records.write_info` comes after that, so a
    folder with a `dataset.json` is a finished one.

    Args:
        folder: existing pathlib.Path.
        count: int, number of records expected.
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

    def write(self, record):
        """Appends one serialised record, bytes."""
        if self._writer is None:
            name = f"records-{len(self._shards):05d}.tfrecord"
            self._path = self._folder / name
            self._writer = tf.io.TFRecordWriter(str(self._path))
        self._writer.write(record)
        self._total += 1
        self._records += 1
        self._bytes += len(record)
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
        """
        if self._writer is not None:
            self._finish_shard()
        return tuple(self._shards)

    def _finish_shard(self):
        self._writer.close()
        size = self._path.stat().st_size
        self._shards.append(Shard(self._path.name, size, self._records))
        self._writer, self._bytes, self._records = None, 0, 0
