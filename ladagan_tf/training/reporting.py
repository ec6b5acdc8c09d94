"""What one opens a run folder for: real images, a page, curves and a film of the samples."""

import sys
import time

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.errors import reason
from ladagan_tf.reports import gathering, keeping
from ladagan_tf.training.callbacks import StepCallback

SHARE = 0.01  # of the time of training that each file may take
MOST_READ = 4096  # real images, to find some of each class


class Reporting(StepCallback):
    """Writes the files of `reports.keeping` with every sample grid, and when a start ends.

    Not with every grid where that would take more than `SHARE` of the time. What cannot be written
    is a line of warning, once, and never ends a run.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        kimg: float, interval of sample grids.
        writers: dict from a file's name to the function of the run's folder that writes it.
        clock: function that returns seconds.
        say: function that is told what cannot be written.
    """

    def __init__(self, schedule, run, kimg, writers=None, clock=time.perf_counter, say=None):
        super().__init__(schedule)
        self.run = run
        self.kimg = kimg
        self.writers = keeping.WRITERS if writers is None else writers
        self.clock = clock
        self.say = say or (lambda line: print(line, file=sys.stderr))
        self.next = dict.fromkeys(self.writers, -np.inf)  # when each may be written again
        self.warned = set()

    def on_train_begin(self, logs=None):
        self.write()

    def after_step(self, step):
        if self.schedule.due(step, self.kimg) and step != self.schedule.total_steps:
            self.write()

    def on_train_end(self, logs=None):
        self.write(last=True)

    def write(self, last=False):
        """Writes what may be written again by now; with `last` all."""
        for name, writer in self.writers.items():
            begin = self.clock()
            if last or begin >= self.next[name]:
                self.attempt(name, writer)
                self.next[name] = begin + (self.clock() - begin) / SHARE

    def attempt(self, name, writer):
        """Calls `writer` with the run's folder; warns of its first failure to write `name`."""
        try:
            writer(self.run.path)
        except Exception as error:  # whatever it is, the run is worth more
            if name not in self.warned:
                self.warned.add(name)
                self.say(f"warning: {self.run.path / name}: not written ({reason(error)})")


def write_reals(run, folder, *, columns, labels=None, subset=1.0, scale=None):
    """Writes reals.png, images that a run learns from, laid out as its samples, unless it is there.

    Args:
        run: RunDirectory.
        folder: a prepared set; without images there is nothing to write.
        columns: int, rows and columns.
        labels: int32 array (columns**2,), the class of each place; None: any image anywhere. A
            place whose class does not occur among the first images stays white.
        subset: float, see `data.pipeline.make_dataset`.
        scale: see `pictures.enlarged_grid`.
    """
    path = run.path / gathering.REALS
    info = dataset_info.load_info(folder)
    if path.exists() or (info.latents and not info.latents.images):
        return
    side = info.resolution
    places = [None] * columns**2 if labels is None else [int(label) for label in labels]
    sheet = np.full((len(places), side, side, 3), 255, np.uint8)
    count = min(info.count, MOST_READ)
    chosen = iter(np.isin(np.arange(count), pipeline.subset_indices(info.count, subset)))
    for images, classes in pipeline.iterate_images(folder, min(len(places), 64), 0, count):
        for image, label, is_chosen in zip(images, classes, chosen, strict=False):
            wanted = None if labels is None else int(label)
            if is_chosen and wanted in places:
                place = places.index(wanted)
                sheet[place], places[place] = image, "taken"
        if set(places) == {"taken"}:
            break
    pictures.save_png(path, pictures.enlarged_grid(sheet, columns, scale))
