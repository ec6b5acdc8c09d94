"""A set that is larger than memory: how soon, how fast and how well shuffled it is read.

    python benchmarks/large_set.py --dataset=data/photos-256 --gigabytes=20 [--folder=FOLDER]

copies the shards of a prepared set until they have so many GB, reads those from the disk, and
prints JSON. What the machine still holds of the files is dropped before each measurement.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import tensorflow as tf

from ladagan_tf.data import dataset_info, ordering, pipeline, records
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.hardware import hardware

MOST_IN_A_BLOCK = ordering.BLOCK_RECORDS
_PAIRS = 200_000  # of images, drawn to see who meets whom again


def enlarged(source, folder, gigabytes):
    """A set in `folder` of as many copies of a set's shards as have so many GB."""
    if (folder / dataset_info.INFO_NAME).is_file():
        return dataset_info.load_info(folder)
    info = dataset_info.load_info(source)
    copies = round(gigabytes * 1e9 / info.total_bytes)
    if copies < 2:
        raise InputError(f"gigabytes={gigabytes:g}: {source} alone has as many")
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for shard in copies * info.shards:
        name = f"records-{len(shards):05d}.tfrecord"
        shutil.copyfile(info.folder / shard.name, folder / name)
        shards.append(dataclasses.replace(shard, name=name))
    large = dataclasses.replace(
        info,
        folder=folder,
        shards=tuple(shards),
        count=copies * info.count,
        class_counts=tuple(copies * count for count in info.class_counts),
    )
    dataset_info.write_info(large)
    return large


def forget(info):
    """Drops what the machine's memory holds of a set's files."""
    os.sync()
    for path in info.shard_paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_from_disk():
    """Bytes that this process has had read from a disk, on Linux."""
    lines = pathlib.Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


def reading(info, start_step, batch_size, seconds=0.0):
    """Seconds and MB until the first batch, and images per second after it."""
    forget(info)
    before, start = read_from_disk(), time.perf_counter()
    batches = iter(
        pipeline.make_dataset(
            info.folder, batch_size=batch_size, seed=0, start_step=start_step, flip=True
        )
    )
    next(batches)
    found = {"first_batch_s": round(time.perf_counter() - start, 2)}
    found["first_batch_mb"] = round((read_from_disk() - before) / 1e6)
    images, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        images += batch_size
    return found | ({"images_per_s": round(images / elapsed, 1)} if images else {})


def two_epochs(info, batch_size):
    """Positions in epochs 0 and 1 of each record, read in the order in which `info` would be.

    Records that hold nothing but their number stand for it: as many in as many shards.
    """
    record_bytes = info.total_bytes // info.count
    block = min(pipeline.MEMORY_LIMIT_BYTES // (4 * record_bytes), MOST_IN_A_BLOCK)
    with tempfile.TemporaryDirectory() as folder:
        shards, number = [], 0
        for shard in info.shards:
            path = pathlib.Path(folder, shard.name)
            with tf.io.TFRecordWriter(str(path)) as writer:
                for _ in range(shard.records):
                    writer.write(records.serialise(number, "", {}))
                    number += 1
            shards.append(dataclasses.replace(shard, bytes=path.stat().st_size))
        small = dataclasses.replace(info, folder=pathlib.Path(folder), shards=tuple(shards))
        limit = 4 * block * (small.total_bytes // small.count)
        steps = ordering.steps_from_disk(
            small, ("label",), np.arange(number), batch_size, (0, batch_size), 0, 0, limit
        )
        steps = steps.take(-(-2 * number // batch_size)).map(lambda record, _: record["label"])
        order = np.concatenate(list(steps.as_numpy_iterator()))
    return np.argsort(order[:number]), np.argsort(order[number : 2 * number]), block


def shuffling(info, batch_size):
    """How the order of a streamed set compares with a uniform shuffle, which has 1 in each."""
    first, second, block = two_epochs(info, batch_size)
    count = len(first)
    shard = np.repeat(np.arange(len(info.shards)), [shard.records for shard in info.shards])
    draws = np.random.default_rng(0)
    a, b = draws.integers(count, size=(2, _PAIRS))
    # The batch that an image is in, and another image of that batch.
    by_place = np.argsort(first)
    mates = by_place[np.minimum(first[a] // batch_size * batch_size + b % batch_size, count - 1)]
    a, mates = a[mates != a], mates[mates != a]
    same_shard = sum((n / count) ** 2 for n in np.bincount(shard))
    return {
        "block": block,
        "moved_between_epochs": round(float(np.abs(first - second).mean() * 3 / count), 3),
        "batch_mates_of_one_shard": round(float((shard[a] == shard[mates]).mean() / same_shard), 2),
        "batch_mates_in_one_block_again": round(
            float((second[a] // block == second[mates] // block).mean() * count / block), 2
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", required=True, help="prepared set to copy")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the copy; 20")
    parser.add_argument("--folder", help="of the copy, which is kept; by default a temporary one")
    parser.add_argument("--batch_size", type=int, default=64, help="64 by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="of reading at full speed; 20")
    given = parser.parse_args()
    with one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(given.folder or f"{temporary}/large")
        info = enlarged(given.dataset, folder, given.gigabytes)
        if info.total_bytes <= pipeline.MEMORY_LIMIT_BYTES:
            raise InputError(f"gigabytes={given.gigabytes:g}: so few are held in memory")
        batch = given.batch_size
        result = {
            "gigabytes": round(info.total_bytes / 1e9, 2),
            "images": info.count,
            "shards": len(info.shards),
            "resolution": info.resolution,
            "batch_size": batch,
            "epoch": reading(info, 0, batch, given.seconds),
            "half_an_epoch": reading(info, info.count // batch // 2, batch),
            "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            "order": shuffling(info, batch),
            **hardware(),
            "date": datetime.date.today().isoformat(),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
