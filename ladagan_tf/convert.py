"""Converts checkpoints of the LadaGAN authors, and ours back.

    python -m ladagan_tf.convert --official=FOLDER --out=ffhq_128.keras
    python -m ladagan_tf.convert --official=FOLDER --out=runs/ffhq_128 --dataset=data/ffhq-128
    python -m ladagan_tf.convert --run_dir=runs/NAME --out=FOLDER --to_official
    python -m ladagan_tf.convert --run_dir=runs/NAME --out=NAME.keras

A run directory records flags as train.py does: those that the authors' config.json implies, and
any of train.py's flags given here. It needs --dataset to be trained further.
"""

import pathlib

from absl import app, flags, logging

from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.flags import convert as convert_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.outputs import new_file
from ladagan_tf.serving import official_fields, official_folder, official_runs

FLAGS = flags.FLAGS


def main(argv):
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes on what it saves
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        if bool(FLAGS.official) == bool(FLAGS.run_dir):
            raise InputError("give either --official, to convert it, or --run_dir")
        as_keras = pathlib.Path(FLAGS.out).suffix == ".keras"
        if FLAGS.to_official:
            convert_back(as_keras)
        elif as_keras:
            convert_to_keras()
        else:
            convert_to_run()


def convert_back(as_keras):
    if as_keras or FLAGS.official:
        raise InputError(
            "--to_official needs --run_dir and a folder as --out: the format holds both networks "
            "and their optimizers, which a .keras file does not"
        )
    count = official_runs.write_official(FLAGS.run_dir, FLAGS.out, FLAGS.checkpoint)
    print(f"{FLAGS.out}: {count} values in the LadaGAN authors' format")


def convert_to_keras():
    if FLAGS.official:
        folder = official_folder.locate(FLAGS.official)
        network = official_runs.open_official(folder, FLAGS.part)
    else:
        network = official_runs.open_run_part(FLAGS.run_dir, FLAGS.checkpoint, FLAGS.part)
    with new_file(FLAGS.out) as temporary:
        network.save(temporary)
    print(
        f"{FLAGS.out}: {FLAGS.part}, {network.resolution} px, {network.count_params():,} parameters"
    )


def convert_to_run():
    if not FLAGS.official:
        raise InputError(f"out={FLAGS.out}: from --run_dir give NAME.keras, or --to_official")
    folder = official_folder.locate(FLAGS.official)
    found = official_runs.write_run(folder, FLAGS.out, record(folder), FLAGS.optimizers)
    adam = "with" if found["optimizers"] else "without"
    print(
        f"{FLAGS.out}: {found['images'] / 1000:g} kimg, step {found['step']}, {adam} the "
        "optimizers' state"
    )
    command = f"python train.py --flagfile={FLAGS.out}/flags.cfg --total_kimg=KIMG"
    missing = "" if FLAGS.dataset else " --dataset=SET --force"
    print(f"to train it further: {command}{missing}")


def record(folder):
    """The flags that `train.py` would record for this run, as text."""
    config = official_folder.read_config(folder)
    implied = official_fields.flags_of(config, folder / official_folder.CONFIG)
    implied |= official_runs.learning_rates(folder) | {"run_dir": FLAGS.out}
    images = official_folder.read_arrays(folder, ("n_images",)).get("n_images", 0)
    implied["total_kimg"] = str(images / 1000)
    recorded = {}
    for name in TRAIN_FLAGS - train_flags.UNRECORDED:
        flag = FLAGS[name]
        try:
            given = flag.present or name not in implied
            value = flag.value if given else flag.parser.parse(implied[name])
        except ValueError as error:
            raise InputError(f"{folder}: --{name}={implied[name]}: {error}") from None
        if value is not None:
            listed = isinstance(value, list | tuple)
            recorded[name] = ",".join(map(str, value)) if listed else str(value)
    return recorded


if __name__ == "__main__":
    others = set(FLAGS)
    train_flags.define()
    TRAIN_FLAGS = set(FLAGS) - others
    convert_flags.define()
    flags.adopt_module_key_flags(convert_flags)
    app.run(main)
