"""A run from its latest checkpoint to its end: the steps and what happens around them."""

import contextlib
import math

import keras
import tensorflow as tf

from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.errors import InputError, NotFiniteError, StoppedError, reason
from ladagan_tf.files import disk_errors
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.snapshots import Snapshots
from ladagan_tf.training import callbacks, observers, reporting
from ladagan_tf.training.workers import Workers
from ladagan_tf.weights.reading import content_sha256


def continue_run(
    model,
    run,
    folder,
    flags,
    *,
    batch_size,
    total_kimg,
    seed=0,
    flip=False,
    subset=1.0,
    log_kimg=10.0,
    sample_kimg=500.0,
    checkpoint_kimg=500.0,
    keep_checkpoints=2,
    grid=8,
    metric=None,
    metric_kimg=500.0,
    vae=None,
    contents=None,
    initial=None,
    scale=None,
    wandb=None,
):
    """Trains from the latest checkpoint of a run, or from the start, to `total_kimg`.

    It may be stopped before by SIGTERM or SIGINT.

    Args:
        model: TrainedModel, compiled in its strategy's scope.
        run: RunDirectory.
        folder: a prepared set.
        flags: dict of text, what `run.start` records.
        batch_size: int, images per step over all devices (global).
        total_kimg: float, length of the run in thousands of images.
        seed: int, of data order and sample latents.
        flip, subset: see `data.pipeline.make_dataset`.
        log_kimg, sample_kimg, checkpoint_kimg: floats, intervals.
        keep_checkpoints: int.
        grid: int, rows and columns of sample grids.
        metric: evaluation.quick.QuickMetric that selects the best checkpoint, or None.
        metric_kimg: float, interval of its measurements.
        vae: AutoencoderKL that decodes what a generator of latents makes, or None.
        contents: dict, see `contents_of`, for the checkpoints to record; or None.
        initial: dict, see `training.initial.record`, of a run that starts from other networks; or
            None.
        scale: int, whole factor of the images of grids; None: see `observers.Samples`.
        wandb: str, the project of Weights & Biases to show it in; None for none.

    Returns:
        bool, whether this process is the chief and reached `total_kimg`.

    Raises:
        InputError: for unusable data or checkpoints, when a loss is no longer finite, and when
            something cannot be written.
        StoppedError: when SIGTERM, SIGINT or SIGHUP ended it; everything is saved.
    """
    strategy = model.distribute_strategy
    workers = Workers(strategy)
    replicas = strategy.num_replicas_in_sync // workers.count
    about = {"contents": contents or {}, "workers": workers.count, "replicas": replicas}
    about["averages"] = model.average_names
    checkpoints = Checkpoints(run.checkpoints, model.state(), keep_checkpoints, about)
    state = checkpoints.restore_latest(run.say) or {"step": 0, "images": 0, "about": {}}
    start, images = state["step"], state["images"]
    workers.check_start(start)
    workers.check_contents(contents or {})
    total = start + math.ceil((total_kimg * 1000 - images) / batch_size)
    if start >= total:
        run.say(f"{run.path}: already trained for {total_kimg:g} kimg; raise --total_kimg")
        return False
    stream = strategy.distribute_datasets_from_function(
        lambda _: pipeline.make_dataset(
            folder,
            batch_size=batch_size,
            seed=seed,
            start_step=images // batch_size,
            flip=flip,
            subset=subset,
            worker_index=workers.index,
            num_workers=workers.count,
            replicas=replicas,
            **model.objective.needs,
        )
    )
    schedule = callbacks.Schedule(batch_size, start, total, images)
    model.images_before = images - start * batch_size
    guard = callbacks.FiniteGuard(schedule, (log_kimg, sample_kimg, checkpoint_kimg), checkpoints)
    chief = workers.index == 0
    around, measuring, snapshots = [guard], None, None
    with told_how_to_continue(run.path, checkpoints):
        if chief:
            if changed := other_devices(state["about"], about):
                run.say(f"{run.path}: {changed}")
            run.start(flags, model.networks.values(), vae, initial)
            run.truncate_stats(start)
            if averages := model.power_averages():
                snapshots = Snapshots(run.averages, averages, *model.untrained_weights())
                snapshots.begin(start)
            writer = tf.summary.create_file_writer(str(run.tensorboard))
            shown = DecodedGenerator(model.averaged, vae) if vae else model.averaged
            observers.write_flags(writer, flags, images)
            samples = observers.Samples(
                schedule, run, writer, sample_kimg, shown, grid, seed, scale
            )
            around += [
                observers.Progress(schedule, log_kimg / 10),
                observers.Forecast(schedule, run),
                observers.Statistics(schedule, run, writer, log_kimg),
                samples,
            ]
            if metric:
                measuring = observers.Measuring(schedule, run, writer, metric_kimg, metric, shown)
                around.append(measuring)
            if wandb:
                when = (log_kimg, sample_kimg, metric_kimg)
                around.append(observers.Tracking(schedule, run, wandb, flags, when))
            report = reporting.Reporting(schedule, run, sample_kimg)
            look = {"columns": grid, "scale": scale, "labels": samples.labels, "subset": subset}
            report.attempt("reals.png", lambda path: reporting.write_reals(run, folder, **look))
            around.append(report)
            where = f"{workers.count} worker(s) x {replicas} replica(s)"
            run.say(f"{run.path}: step {start} of {total}, {where}")
            run.say(f"{run.path}: {sizes_in_words(folder, subset, model)}")
        saving = callbacks.Checkpointing(
            schedule,
            checkpoints,
            guard,
            checkpoint_kimg,
            writes=chief,
            measuring=measuring,
            any_told=workers.any_told,
            snapshots=snapshots,
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
        run.say(f"{run.path}: finished {total_kimg:g} kimg; samples are in {run.samples}")
    return chief


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
