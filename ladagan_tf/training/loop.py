"""A run from its latest checkpoint to its end: the steps and what happens around them."""

import contextlib
import dataclasses
import functools
import math

import keras
import tensorflow as tf

from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError, NotFiniteError, StoppedError, reason
from ladagan_tf.files import disk_errors
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.snapshots import Snapshots
from ladagan_tf.training import callbacks, observers, reporting
from ladagan_tf.training.workers import Workers
from ladagan_tf.weights.reading import content_sha256


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long a run trains, on what, and when it shows, measures and saves itself.

    Attributes: what the flags of these names say; those in kimg are intervals in thousands of
        images, but `total_kimg`, the length of the run. `batch_size` counts over all devices.
    """

    batch_size: int
    total_kimg: float
    seed: int
    flip: bool
    subset: float
    log_kimg: float
    sample_kimg: float
    checkpoint_kimg: float
    metric_kimg: float
    keep_checkpoints: int
    grid: int
    scale: int | None
    wandb: str | None


def continue_run(model, run, folder, flags, settings, metric, vae, contents, initial):
    """Trains from the latest checkpoint of a run, or from the start, to its end.

    It may be stopped before by a signal.

    Args:
        model: TrainedModel, compiled in its strategy's scope.
        run: RunDirectory.
        folder: a prepared set.
        flags: dict of text, what `run.start` records.
        settings: Settings.
        metric: evaluation.quick.QuickMetric that selects the best checkpoint, or None.
        vae: AutoencoderKL that decodes what a generator of latents makes, or None.
        contents: dict, see `contents_of`, for the checkpoints to record.
        initial: dict, see `training.initial.record`, of a run that starts from other networks; or
            None.

    Returns:
        bool, whether this process is the chief and reached the end.

    Raises:
        InputError: for unusable data or checkpoints, when a loss is no longer finite, and when
            something cannot be written.
        StoppedError: when SIGTERM, SIGINT or SIGHUP ended it; everything is saved.
    """
    workers = Workers(model.distribute_strategy)
    chief = workers.index == 0
    replicas = model.distribute_strategy.num_replicas_in_sync // workers.count
    about = {"contents": contents, "workers": workers.count, "replicas": replicas}
    about |= {"averages": model.average_names, "order": pipeline.order_of(folder, settings.subset)}
    info = dataset_info.load_info(folder)
    checkpoints = Checkpoints(run.checkpoints, model.state(), settings.keep_checkpoints, about)
    state = checkpoints.restore_latest(run.say) or {"step": 0, "images": 0, "about": {}}
    start, images, batch_size = state["step"], state["images"], settings.batch_size
    workers.check_start(start)
    workers.check_contents({**contents, "dataset": f"{contents['dataset']} {about['order']}"})
    total = start + math.ceil((settings.total_kimg * 1000 - images) / batch_size)
    if start >= total:
        length = f"{plain(settings.total_kimg)} kimg"
        run.say(f"{run.path}: already trained for {length}; raise --total_kimg")
        return False
    stream = stream_from(images, model, folder, settings, workers, replicas)
    schedule = callbacks.Schedule(batch_size, start, total, images)
    model.images_before = images - start * batch_size
    intervals = (settings.log_kimg, settings.sample_kimg, settings.checkpoint_kimg)
    guard = callbacks.FiniteGuard(schedule, intervals, checkpoints)
    around, measuring, snapshots = [guard], None, None
    with told_how_to_continue(run.path, checkpoints):
        if chief:
            for differs in (other_devices, other_order):
                if changed := differs(state["about"], about):
                    run.say(f"{run.path}: {changed}")
            run.start(flags, model.networks.values(), vae, initial)
            run.truncate_stats(start)
            if averages := model.power_averages():
                snapshots = Snapshots(run.averages, averages, *model.untrained_weights())
                snapshots.begin(start)
            shown = DecodedGenerator(model.averaged, vae) if vae else model.averaged
            watching, measuring = observed(schedule, run, folder, flags, settings, metric, shown)
            around += watching
            where = f"{workers.count} worker(s) x {replicas} replica(s)"
            run.say(f"{run.path}: step {start} of {total}, {where}")
            run.say(f"{run.path}: {sizes_in_words(folder, settings.subset, model)}")
        saving = callbacks.Checkpointing(
            schedule,
            checkpoints,
            guard,
            settings.checkpoint_kimg,
            writes=chief,
            measuring=measuring,
            any_told=workers.any_told,
            heard=lambda: run.heard,
            snapshots=snapshots,
            check=functools.partial(pipeline.check_stream, info, settings.subset),
        )
        with pipeline.damage_as_input_error(folder):
            try:
                run_steps(model, stream, total - start, [*around, saving])
            except NotFiniteError:  # of a metric or a grid: weights that are only too large so far
                guard.stop("the generator's images became NaN or infinite")
    workers.wait()  # none says that all is saved before the chief has saved it
    if saving.stopped_by:
        raise StoppedError(
            f"stopped by {saving.stopped_by}; run the same command to continue {run.path}"
        )
    if chief:
        run.say(
            f"{run.path}: finished {plain(settings.total_kimg)} kimg; samples are in {run.samples}"
        )
    return chief


def stream_from(images, model, folder, settings, workers, replicas):
    """The batches of a worker's replicas from where a run is: tf.distribute.DistributedDataset.

    Args:
        images: int, how many the run has seen.
        model, folder, settings: see `continue_run`.
        workers: Workers.
        replicas: int, of each worker.
    """
    return model.distribute_strategy.distribute_datasets_from_function(
        lambda _: pipeline.make_dataset(
            folder,
            batch_size=settings.batch_size,
            seed=settings.seed,
            start_step=images // settings.batch_size,
            flip=settings.flip,
            subset=settings.subset,
            worker_index=workers.index,
            num_workers=workers.count,
            replicas=replicas,
            **model.objective.needs,
        )
    )


def observed(schedule, run, folder, flags, settings, metric, shown):
    """What shows a run to those who watch it, in the order in which it acts.

    Args:
        schedule: callbacks.Schedule.
        run, folder, flags, settings, metric: see `continue_run`.
        shown: keras.Model that makes the images, of the averaged weights.

    Returns:
        List of keras.callbacks.Callback, and that of them which measures, or None.
    """
    writer = tf.summary.create_file_writer(str(run.tensorboard))
    observers.write_flags(writer, flags, schedule.start_images)
    log, sample, measure = settings.log_kimg, settings.sample_kimg, settings.metric_kimg
    grid, scale = settings.grid, settings.scale
    samples = observers.Samples(schedule, run, writer, sample, shown, grid, settings.seed, scale)
    watching = [
        observers.Progress(schedule, log / 10),
        observers.Forecast(schedule, run),
        observers.Statistics(schedule, run, writer, log),
        samples,
    ]
    measuring = metric and observers.Measuring(schedule, run, writer, measure, metric, shown)
    if measuring:
        watching.append(measuring)
    if settings.wandb:
        when = (log, sample, measure)
        watching.append(observers.Tracking(schedule, run, settings.wandb, flags, when))
    report = reporting.Reporting(schedule, run, sample)
    look = {"columns": grid, "scale": scale, "labels": samples.labels, "subset": settings.subset}
    report.attempt("reals.png", lambda path: reporting.write_reals(run, folder, **look))
    return [*watching, report], measuring


def sizes_in_words(folder, subset, model):
    """How much is learned by how much: text.

    Args:
        folder: a prepared set.
        subset: float, the fraction of it that is learned.
        model: TrainedModel.
    """
    info = dataset_info.load_info(folder)
    count = pipeline.num_images(folder, subset)
    of = f" of {info.count:,}" if count < info.count else ""
    sizes = [f"{name} {network.count_params():,}" for name, network in model.networks.items()]
    return (
        f"{count:,}{of} images of {info.resolution} x {info.resolution} pixels; parameters: "
        f"{', '.join(sizes)}"
    )


def other_devices(before, now):
    """What it means that a run continues on another number of devices, in words.

    Args:
        before, now: dicts of what checkpoints record, of "workers" and "replicas" if known.

    Returns:
        str; None if the number is the same, or was not recorded.
    """
    names = ("workers", "replicas")
    one, other = ([about[n] for n in names if n in about] for about in (before, now))
    if not one or one == other:
        return None
    return (
        "{} worker(s) x {} replica(s) before, {} x {} now: batch norm normalises other parts of "
        "each batch, so this is not the run that it would have been"
    ).format(*one, *other)


def other_order(before, now):
    """What to say of a run that goes on with its images in another order; None if it does not.

    Args:
        before, now: dicts of what the checkpoint and this start record of themselves.
    """
    if before.get("order", now["order"]) == now["order"]:
        return None
    return (
        "the set was prepared again, and its images come in another order: some of this epoch are "
        "seen twice and others not, so this is not the run that it would have been"
    )


@contextlib.contextmanager
def told_how_to_continue(path, checkpoints):
    """A disk that is full or read-only as one line, which says where the run continues.

    Args:
        path: the run directory.
        checkpoints: Checkpoints of the run.
    """
    try:
        with disk_errors():
            yield
    except BrokenPipeError:  # of what it prints into: the run can be written
        raise
    except OSError as error:
        kept = checkpoints.paths()
        raise InputError(
            f"run_dir={path}: it cannot be written ({error.strerror or reason(error)}); once it "
            "can, run the same command to continue from "
            f"{kept[-1].name if kept else 'the start'}"
        ) from error


def run_steps(model, stream, steps, around):
    """Runs `model.train_step` on `steps` batches, with Keras callbacks around each.

    `Model.fit` would do, but under a strategy it takes one batch from the stream to build a model
    that is built already, which shifts the order of the data and fails with several workers.

    Args:
        model: TrainedModel, built and compiled in its strategy's scope.
        stream: tf.distribute.DistributedDataset of what `train_step` takes; endless.
        steps: int.
        around: list of keras.callbacks.Callback; setting `model.stop_training` ends the loop.
    """
    strategy = model.distribute_strategy

    @tf.function(autograph=False)
    def step(iterator):
        strategy.run(model.train_step, args=(next(iterator),))

    model.stop_training = False
    around = keras.callbacks.CallbackList(around, model=model)
    iterator = iter(stream)
    try:
        around.on_train_begin()
        for batch in range(steps):
            step(iterator)
            around.on_train_batch_end(batch)
            if model.stop_training:
                break
    finally:
        around.on_train_end()


def contents_of(folder, objective, vae=None):
    """Hashes of everything that a run reads, as its checkpoints record them: paths may change.

    Args:
        folder: a prepared set.
        objective: the run's; it may have a teacher.
        vae: AutoencoderKL that decodes what its generator makes, or None.

    Returns:
        Dict of text by the names of the flags that lead there: "dataset" and, where there are any,
        "teacher" (with its kind) and "vae".
    """
    found = {"dataset": dataset_info.load_info(folder).content_sha256}
    if teacher := getattr(objective, "teacher", None):
        about = teacher.about
        weights = about.get("stored", about).get("sha256")
        found["teacher"] = f"{about['teacher']} {weights}"
    if vae:
        found["vae"] = content_sha256(vae.tensors())
    return found
