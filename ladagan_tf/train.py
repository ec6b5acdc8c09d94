"""Trains LadaGAN, GAT, CAT or a flow: `ladagan train --config=cifar10`.

`ladagan train --config=list` shows the experiments that ship; any other flagfile will do, too.

The same command again continues the run exactly where it stopped.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import train as train_flags

if __name__ == "__main__":
    command.parse(train_flags)  # before TensorFlow is imported

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import fields

from ladagan_tf import devices
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.evaluation import features
from ladagan_tf.flags import common
from ladagan_tf.flags import model as model_flags
from ladagan_tf.hardware import device_memory, hardware, peak_memory
from ladagan_tf.locks import locked
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.official.initial import open_networks
from ladagan_tf.runs.checkpoints import newest_state
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.systems import named_as_flags
from ladagan_tf.training import initial
from ladagan_tf.training.loop import Settings, contents_of, continue_run
from ladagan_tf.training.speed import seconds_on_random_data
from ladagan_tf.training.workers import roll_call, told_of_lost_workers

FLAGS = flags.FLAGS
NARROWEST = 50  # columns of a terminal that a table of layers is drawn for


def main():
    """Trains the run of the flags, or describes it."""
    recorded = start_flags.resolve()
    cluster = None
    if FLAGS.strategy == "multiworker":
        same = start_flags.same_for_all_workers(recorded)
        cluster = roll_call(*devices.cluster(), FLAGS.worker_wait, same)
    strategy = devices.make_strategy(FLAGS.strategy, FLAGS.virtual_cpus)
    model_flags.check_split(strategy)
    if FLAGS.measure_seconds:
        measure(strategy, FLAGS.measure_seconds)
        return
    if FLAGS.dry_run:
        model = model_flags.build(strategy)
        describe(model, recorded)
        if FLAGS.init_from:
            take_over(model, print)
        return
    index, _ = devices.worker(strategy)
    # Of several workers only the first writes.
    place = locked(FLAGS.run_dir, "run_dir", inside=True) if index == 0 else nullcontext()
    with told_of_lost_workers(strategy, FLAGS.run_dir, cluster), place:
        folder = open_dataset(recorded)
        train(model_flags.build(strategy, folder), recorded, folder)


def open_dataset(recorded):
    """The prepared set, which suits the run and the system."""
    free, by_content, defaults = start_flags.FREE, start_flags.BY_CONTENT, start_flags.defaults()
    run = RunDirectory(FLAGS.run_dir)
    run.check_flags(recorded, free, FLAGS.force, defaults, by_content)
    folder = common.open_dataset()
    info = dataset_info.load_info(folder)
    train_flags.SYSTEMS[FLAGS.system].check_set(info)
    pipeline.chosen_images(info, FLAGS.batch_size, FLAGS.subset)  # before networks are built
    return folder


def describe(model, recorded):
    """Prints the resolved run, its networks and what a step costs."""
    for name, value in sorted(recorded.items()):
        print(f"--{name}={value}")
    # Keras refuses narrow ones, and asks again for what it was told.
    os.environ["COLUMNS"] = str(max(NARROWEST, shutil.get_terminal_size().columns))
    for network in model.networks.values():
        network.summary()
    rates = [f"{name[0].upper()} {model.rates[name]:g}" for name in model.networks]
    print(f"learning rates: {', '.join(rates)}")
    system = train_flags.SYSTEMS[FLAGS.system]
    print(system.cost_report(**model.networks, **model_flags.step_of(model.distribute_strategy)))
    if model.further_averages:
        more = 4 * len(model.further_averages) * model.generator.count_params()
        print(f"{len(model.further_averages)} averages beside the first: {more / 1e9:.2g} GB more")


def measure(strategy, seconds):
    """Prints what a step costs as lines of JSON: estimated, then, where memory suffices, measured.

    Estimated from networks without values, so that those of any size can be.

    Args:
        strategy: tf.distribute.Strategy.
        seconds: float, for how long to time steps.
    """
    system = train_flags.SYSTEMS[FLAGS.system]
    with shapes_only(), named_as_flags():
        networks, _, _ = system.build(None)
    multiply_adds, needed, on_cpu = system.step_cost(**networks, **model_flags.step_of(strategy))
    needed = needed if hardware()["gpus"] else on_cpu
    free = device_memory()
    about = {
        "batch_size": FLAGS.batch_size,
        "precision": FLAGS.precision,
        "multiply_adds_per_image": multiply_adds,
        "estimated_gb": round(needed / 1e9, 3),
        "free_gb": None if free is None else round(free / 1e9, 3),
    }
    print(json.dumps(about), flush=True)
    if free is not None and needed > free:
        return
    model = model_flags.build(strategy)
    spent = seconds_on_random_data(model, FLAGS.batch_size, seconds)
    print(json.dumps({**about, "seconds_per_step": round(spent, 6), **peak_memory()}))


def train(model, recorded, folder):
    """Trains from the latest checkpoint, or from the start, to --total_kimg.

    Args:
        model: TrainedModel.
        recorded: dict of text, the flags that a run records.
        folder: the prepared set.
    """
    run = RunDirectory(FLAGS.run_dir)
    run.say(devices.in_words(FLAGS.precision, devices.use_jit(FLAGS.jit)))
    for warning in filter(None, (devices.unseen_gpu(), devices.emulated(FLAGS.precision))):
        run.say(f"warning: {warning}")
    vae = train_flags.SYSTEMS[FLAGS.system].autoencoder(folder, run.vae_file)
    learned = contents_of(folder, model.objective, vae)
    begun = take_over_once(model, run, learned) if FLAGS.init_from else None
    run.check_contents(learned, recorded, FLAGS.force)
    metric = quick_metric(folder) if FLAGS.metric != "none" else None
    settings = Settings(**{field.name: FLAGS[field.name].value for field in fields(Settings)})
    with run.logged_end():
        finished = continue_run(model, run, folder, recorded, settings, metric, vae, learned, begun)
    if finished:
        used = features.chosen(FLAGS.features, FLAGS.dataset, [FLAGS.metric])
        by_default = features.chosen(features.AUTO, FLAGS.dataset)
        features_flag = "" if used == by_default else f" --features={used}"
        measure = f"python -m ladagan_tf.evaluate --run_dir={run.path}{features_flag}"
        run.say(f"to measure it: {measure}")


def take_over_once(model, run, learned):
    """Gives a run that begins the weights of --init_from; one that goes on has its own.

    Args:
        model: TrainedModel.
        run: RunDirectory.
        learned: dict of `contents_of`, which is told the hash of what the run began with.

    Returns:
        Dict to record in the run, or None.
    """
    state = newest_state(run.checkpoints)
    if state is None:
        begun = take_over(model, run.say)
        learned["init_from"] = begun["sha256"]
        return begun
    learned["init_from"] = state["about"].get("contents", {}).get("init_from", "none")
    recorded = run.flags()
    # Of the same name it may be gone, or have been trained further.
    if recorded.get("init_from") != FLAGS.init_from and not FLAGS.force:
        learned["init_from"] = initial.networks_sha256(open_networks(FLAGS.init_from)[0])
    run.say(f"{run.path}: it goes on from its checkpoint; --init_from was for its start")
    return None


def take_over(model, say):
    """Gives a new run the weights of --init_from and says which; returns what to record of it.

    Opened after the run's own networks were made: what is new starts as in a run from scratch.
    """
    networks, found = open_networks(FLAGS.init_from)
    named = f"init_from={FLAGS.init_from}"
    with model.distribute_strategy.scope():
        done = initial.start_from(model, networks, named)
        model.begin_averages()
    sha256 = initial.networks_sha256(networks)
    say(f"{named}: {found}, SHA-256 {sha256[:12]}..; the optimizers are new")
    for line in initial.in_words(done, [*model.networks, "averaged"]):
        say(line)
    frozen = (
        list(model.networks["discriminator"].stages)[: FLAGS.freeze_d] if FLAGS.freeze_d else []
    )
    if frozen:
        say(f"discriminator: kept as they are: {', '.join(frozen)}")
    return {**initial.record(done, FLAGS.init_from, sha256), "frozen": frozen}


def quick_metric(folder):
    """The metric of --metric; its reference is computed here, or read from the cache."""
    info = dataset_info.load_info(folder)
    dataset_info.require_undamaged(info, "give --metric=none, and evaluate --dataset")
    return common.open_metric(folder, FLAGS.dataset)


if __name__ == "__main__":
    command.run(main)
