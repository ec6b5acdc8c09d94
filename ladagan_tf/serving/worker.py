"""One thread that runs a generator for many callers, small requests together in one batch."""

import collections
import concurrent.futures
import dataclasses
import threading
from collections.abc import Sequence

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.errors import NotFiniteError


class QueueFullError(Exception):
    """As many requests wait as may."""


@dataclasses.dataclass(frozen=True)
class _Job:
    seeds: Sequence
    labels: Sequence | None
    psi: float | None  # None as the generator is
    truncation_z: float | None  # the same
    future: concurrent.futures.Future


class Worker:
    """Runs a generator in one thread; whoever asks gets a future.

    Several threads would compete for the same cores. Requests that wait while a batch is computed
    go into the next one together, as many of one psi as `max_batch` allows, in their order.

    Args:
        sampler: Sampler.
        max_batch: int, images computed at once.
        max_queue: int, requests that may wait.
    """

    def __init__(self, sampler, max_batch=64, max_queue=256):
        self.sampler = sampler
        self.max_batch = max_batch
        self.max_queue = max_queue
        self.batches = 0
        self.images = 0
        self._jobs = collections.deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="generator", daemon=True)
        self._thread.start()

    @property
    def waiting(self):
        """Number of requests that wait, and whose images are still wanted."""
        with self._changed:
            return len(self._wanted())

    def submit(self, chosen, labels=None, psi=None, truncation_z=None):
        """Asks for images.

        Args:
            chosen: sequence of at most `max_batch` seeds; each gives the image that
                `ladagan_tf.generate` makes of it, to a rounding of one step in 255.
            labels: sequence of as many classes; by default in turn by seed. Only if conditional.
            psi: float, see `Sampler.at`; None as the generator is.
            truncation_z: float, see `Sampler.within`; None as the generator is.

        Returns:
            concurrent.futures.Future of uint8 images (n, S, S, 3). Cancelling it while it waits
            saves the work.

        Raises:
            QueueFullError: if `max_queue` requests wait.
            ValueError: for more seeds than fit into a batch.
        """
        if len(chosen) > self.max_batch:
            raise ValueError(f"{len(chosen)} images; at most {self.max_batch} at once")
        job = _Job(chosen, labels, psi, truncation_z, concurrent.futures.Future())
        with self._changed:
            if self._closing or len(self._wanted()) >= self.max_queue:
                raise QueueFullError
            self._jobs.append(job)
            self._changed.notify()
        return job.future

    def close(self):
        """Finishes what waits, refuses what comes, and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self):
        while jobs := self._next_batch():
            # From here on a future cannot be cancelled; those that were need no images.
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if not jobs:
                continue
            try:
                results = self._generate(jobs)
            except Exception as error:  # it is the callers', and the thread must live on
                for job in jobs:
                    job.future.set_exception(error)
            else:
                for job, images in zip(jobs, results, strict=True):
                    self._answer(job, images)

    def _next_batch(self):
        """Waits for jobs; returns those that fit into one batch, [] at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted() or self._closing)
            jobs, size = [], 0
            while self._jobs and size + len(self._jobs[0].seeds) <= self.max_batch:
                if jobs and self._jobs[0].psi != jobs[0].psi:
                    break
                jobs.append(self._jobs.popleft())
                size += len(jobs[-1].seeds)
            return jobs

    def _wanted(self):
        """What waits, without what was cancelled."""
        self._jobs = collections.deque(job for job in self._jobs if not job.future.cancelled())
        return self._jobs

    def _generate(self, jobs):
        """The floats of each job's images."""
        sizes = [len(job.seeds) for job in jobs]
        # Here, not where they are asked for: truncated latents take long to draw, and whoever hung
        # up or was refused needs none.
        inputs = [self._inputs(job) for job in jobs]
        inputs = [np.concatenate(parts) for parts in zip(*inputs, strict=True)]
        psi = jobs[0].psi
        source = self.sampler if psi is None else self.sampler.at(psi)
        images = np.asarray(source.generate(*inputs))
        self.batches += 1
        return np.split(images, np.cumsum(sizes)[:-1])

    def _answer(self, job, images):
        try:
            images = pictures.to_uint8(images)
        except NotFiniteError as error:  # of this request, not of those it was computed with
            job.future.set_exception(error)
        else:
            self.images += len(images)
            job.future.set_result(images)

    def _inputs(self, job):
        """Latents (n, Z), and labels (n,) if conditional."""
        z = job.truncation_z
        source = self.sampler if z is None else self.sampler.within(z)
        return source.inputs(job.seeds, job.labels)
