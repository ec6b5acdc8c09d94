"""How many images per second the input pipeline delivers on its own.

Run `python benchmarks/input_pipeline.py`; it prints JSON. The pipeline must outrun the training
step of the fastest accelerator, or it is the pipeline that one measures there.
"""

import datetime
import json
import pathlib
import sys
import tempfile
import time

from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf.data import dataset_info, pipeline, preparation
from ladagan_tf.errors import one_line_errors
from ladagan_tf.hardware import hardware

_DATASET = flags.DEFINE_string(
    "dataset", None, "Prepared set to read; by default 10,000 shapes in a temporary folder."
)
_RESOLUTION = flags.DEFINE_integer(
    "resolution", 32, "Side of the shapes in pixels, without --dataset; 32 by default."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 128, "Images per batch; 128 by default.")
_SECONDS = flags.DEFINE_float("seconds", 5.0, "How long to measure, in seconds; 5 by default.")
_MODE = flags.DEFINE_enum(
    "mode", "memory", ["memory", "streaming"], "Where records are read from; memory by default."
)


def images_per_second(folder, batch_size, mode, seconds):
    """Reads batches for some seconds, after as many warm-up batches as autotuning needs."""
    total = dataset_info.load_info(folder).total_bytes
    limit = total if mode == "memory" else total - 1
    batches = iter(
        pipeline.make_dataset(
            folder, batch_size=batch_size, seed=0, flip=True, memory_limit_bytes=limit
        )
    )
    for _ in range(50):
        next(batches)
    images, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(batches)
        images += batch_size
    return images / elapsed


def main(argv):
    del argv
    with one_line_errors(), tempfile.TemporaryDirectory() as temporary:
        folder = _DATASET.value
        if folder is None:
            folder = pathlib.Path(temporary) / "shapes"
            preparation.prepare("shapes", folder, resolution=_RESOLUTION.value)
        info = dataset_info.load_info(folder)
        speed = images_per_second(folder, _BATCH_SIZE.value, _MODE.value, _SECONDS.value)
    result = {
        "images_per_second": round(speed),
        "resolution": info.resolution,
        "batch_size": _BATCH_SIZE.value,
        "mode": _MODE.value,
        "flip": True,
        **hardware(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    app.run(main)
