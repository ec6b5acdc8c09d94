"""Converts checkpoints of the authors of LadaGAN and GAT, and ours back.

    python -m ladagan_tf.convert --official=FOLDER --out=ffhq_128.keras
    python -m ladagan_tf.convert --official=FOLDER --out=runs/ffhq_128 --dataset=data/ffhq-128
    python -m ladagan_tf.convert --official=latest.pt --vae=sd-mse --out=gat.keras
    python -m ladagan_tf.convert --official=hf:BiliSakura/GAT-diffusers/GAT-XL-2-256 --out=gat.keras
    python -m ladagan_tf.convert --official=latest.pt --out=runs/gat --dataset=data/LATENTS
    python -m ladagan_tf.convert --run_dir=runs/NAME --out=FOLDER --to_official
    python -m ladagan_tf.convert --run_dir=runs/NAME --out=NAME.keras
    python -m ladagan_tf.convert --gpu_run=FOLDER --out=runs/NAME

LadaGAN's format is a folder of TensorFlow, with the optimizers. GAT's is a PyTorch file, of which
nothing is executed, or a folder of diffusers with safetensors; written are three .safetensors files
instead, because a .pt file is a pickle. GAT's optimizers are never taken over.
`--gpu_run` joins what `benchmarks/gpu_run.py` brought back.

A run directory records flags as train.py does: those that the authors' files imply, and any of
train.py's flags given here. It needs --dataset to be trained further.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.decimals import in_kimg
from ladagan_tf.flags import convert as convert_flags

if __name__ == "__main__":
    command.parse(convert_flags)  # before TensorFlow is imported

import pathlib

import tensorflow as tf

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.files import new_file, refuse_bare, vacant
from ladagan_tf.flags import common
from ladagan_tf.flags import model as model_flags
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.locks import locked
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.official import gat as official_gat
from ladagan_tf.official import gat_files, gat_runs, gpu_runs, lada_fields, lada_folder, lada_runs
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.run_networks import makes_latents
from ladagan_tf.systems import gat as gat_system
from ladagan_tf.systems import lada as lada_system
from ladagan_tf.systems import refuse
from ladagan_tf.weights import download, vae_weights

FLAGS = flags.FLAGS


def main():
    """Converts in the direction that the flags say."""
    if sum(map(bool, (FLAGS.official, FLAGS.run_dir, FLAGS.gpu_run))) != 1:
        raise InputError("give either --official, to convert it, or --run_dir, or --gpu_run")
    refuse_bare(FLAGS.out, [".keras"])
    as_keras = pathlib.Path(FLAGS.out).suffix == ".keras"
    if FLAGS.to_official and (as_keras or not FLAGS.run_dir):
        raise InputError(
            "--to_official needs --run_dir and a folder as --out: the format holds both networks "
            "and, of LadaGAN, their optimizers, which a .keras file does not"
        )
    if FLAGS.average and (not FLAGS.run_dir or FLAGS.part != "averaged"):
        raise InputError(
            f"--average={FLAGS.average}: it chooses among the averages of a --run_dir; leave it out"
        )
    common.refuse_starts()
    refuse(("ema_decays", "ema_halflives_kimg", "posthoc_ema"), "what is converted has one average")
    if not FLAGS.run_dir:
        refuse(["checkpoint"], "it chooses among the checkpoints of a --run_dir; leave it out")
    if not as_keras:
        refuse(["part"], "it chooses what a .keras file holds; --out is to hold all networks")
    if as_keras or FLAGS.to_official or FLAGS.gpu_run:
        refuse(["optimizers"], "it is for a run directory of the LadaGAN authors' folder")
    with locked(FLAGS.out):
        vacant(FLAGS.out)
        if FLAGS.gpu_run:
            join_parts(as_keras)
        else:
            resolve_source()
            refuse_train_flags(as_keras)
            convert(as_keras)


def refuse_train_flags(as_keras):
    """Refuses flags of train.py where nothing is written that keeps them.

    Args:
        as_keras: whether --out ends in .keras.
    """
    if not (as_keras or FLAGS.run_dir):
        return
    read = {"run_dir", "system"}
    if FLAGS.official:
        read |= {"vae", "official_quirks"}
    if FLAGS.official and FLAGS.vae:
        read.add("cache_dir")
    given = {flag.name for flag in FLAGS.get_key_flags_for_module(train_flags)}
    for name in sorted(given - read):
        if FLAGS[name].present:
            raise InputError(
                f"--{name}={start_flags.as_text(FLAGS[name].value)}: only a run directory that is "
                "made of --official or --gpu_run keeps it; leave it out"
            )


def convert(as_keras):
    """Writes what the flags ask for; `as_keras`: whether --out ends in .keras."""
    if FLAGS.to_official:
        convert_back()
    elif as_keras:
        convert_to_keras()
    elif FLAGS.run_dir:
        raise InputError(f"out={FLAGS.out}: from --run_dir give NAME.keras, or --to_official")
    elif FLAGS.system == "gat":
        convert_gat_to_run()
    else:
        convert_lada_to_run()


def join_parts(as_keras):
    """The parts of --gpu_run as a run directory; `as_keras`: whether --out ends in .keras."""
    if as_keras:
        raise InputError(f"out={FLAGS.out}: --gpu_run makes a run directory")
    about = gpu_runs.read(FLAGS.gpu_run)
    path = pathlib.Path(FLAGS.gpu_run, gpu_runs.DESCRIPTION)
    system = about["flags"].get("system")
    if system not in train_flags.SYSTEMS:
        raise InputError(f"{path}: system={system}; give one of {', '.join(train_flags.SYSTEMS)}")
    check_system(system, FLAGS.gpu_run)
    recorded = record(about["flags"], path)
    folder = FLAGS.dataset  # as given, or as it was there, which may be here too
    if not pathlib.Path(folder or "", dataset_info.INFO_NAME).is_file():
        folder = None
    if folder:
        train_flags.SYSTEMS[system].check_set(dataset_info.load_info(folder))
    try:
        with blank_of(2 * len(about["values"])):  # the generator and its average are one in there
            model = model_flags.build(tf.distribute.get_strategy(), folder)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    vae = None
    if makes_latents(model.generator):
        vae = open_autoencoder(folder)
        if vae is None:
            raise InputError(
                f"--dataset={FLAGS.dataset}: no prepared set, whose autoencoder would decode what "
                "is generated; give the set, or the autoencoder as --vae"
            )
    found = gpu_runs.write_run(FLAGS.gpu_run, about, FLAGS.out, recorded, model, vae)
    report_run(found, "without the optimizers' state", folder)


def resolve_source():
    """Sets --official to a path here and --system to what the source is.

    InputError if it is of neither system, or for flags that are not that system's.
    """
    source = FLAGS.official or FLAGS.run_dir
    if FLAGS.official:
        FLAGS.official = str(download.locate(source, (*lada_folder.FILES, *gat_files.FILES)))
        system = official_system(source)
    else:
        system = "gat" if gat_runs.is_run(source) else "lada"
    check_system(system, source)
    train_flags.foreign(system)


def check_system(system, source):
    """Sets --system to that of a source; InputError if another one is given."""
    if FLAGS["system"].present and FLAGS.system != system:
        raise InputError(f"--system={FLAGS.system}: {source} is of --system={system}")
    FLAGS.system = system


def official_system(source):
    """Whose --official is, which was given as `source`: gat or lada."""
    path = pathlib.Path(FLAGS.official)
    if gat_runs.is_official(path):
        return "gat"
    if lada_folder.is_official(path):
        return "lada"
    rest = "of the hub give hf:USER/REPO/SUBFOLDER"
    for folder in sorted(path.iterdir()) if path.is_dir() else ():
        if gat_files.is_folder(folder) or lada_folder.is_official(folder):
            rest = f"perhaps {source.rstrip('/')}/{folder.name}"
            break
    raise InputError(
        f"official={source}: no weight file, and no folder of LadaGAN ({lada_folder.CONFIG}, "
        f"{lada_folder.CHECKPOINTS}/) or GAT (ema.safetensors, or generator/ with "
        f"{gat_files.WEIGHTS}); {rest}"
    )


def convert_back():
    """A run in the authors' format."""
    source = FLAGS.run_dir, FLAGS.out, FLAGS.checkpoint, FLAGS.average
    if FLAGS.system == "gat":
        count = gat_runs.write_official(*source)
        print(f"{FLAGS.out}: {count} tensors with the GAT authors' names, without the optimizers")
    else:
        count = lada_runs.write_official(*source)
        print(f"{FLAGS.out}: {count} values in the LadaGAN authors' format")
        if changes := lada_fields.not_held(RunDirectory(FLAGS.run_dir).flags()):
            print(f"not in it, as their code trains without: {', '.join(changes)}")


def convert_to_keras():
    """One network of the source as a .keras file."""
    network, steps = open_gat_part() if FLAGS.system == "gat" else (open_lada_part(), None)
    with new_file(FLAGS.out) as temporary:
        network.save(temporary)
    trained = f", trained for {steps} steps" if steps is not None else ""
    print(
        f"{FLAGS.out}: {FLAGS.part}, {sizes_in_words(network)}, "
        f"{network.count_params():,} parameters{trained}"
    )


def open_run_part():
    """The network of --part of a run, or one of its averages, a keras.Model."""
    return lada_runs.open_run_part(FLAGS.run_dir, FLAGS.checkpoint, FLAGS.part, FLAGS.average)


def open_lada_part():
    """LadaGAN's network of --part, a keras.Model."""
    if FLAGS.official:
        return lada_runs.open_official(pathlib.Path(FLAGS.official), FLAGS.part)
    return open_run_part()


def open_gat_part():
    """The network of --part and its steps, if known; a generator with the autoencoder there is."""
    if FLAGS.official:
        opened = gat_runs.open_official(FLAGS.official, FLAGS.part, FLAGS.official_quirks)
        network, steps = opened
        file = vae_weights.find(FLAGS.vae, FLAGS.cache_dir) if FLAGS.vae else None
    else:
        network = open_run_part()
        file, steps = RunDirectory(FLAGS.run_dir).vae_file, None
        if FLAGS.part == "discriminator" or not file.is_file():
            file = None
    return gat_runs.with_autoencoder(network, file) if file else network, steps


def sizes_in_words(network):
    """What a network makes and how large it is, for the summary: str."""
    if FLAGS.system == "lada":
        return f"{network.resolution} px"
    gat, pixels = network, ""
    if isinstance(network, DecodedGenerator):
        gat, pixels = network.generator, f"{network.resolution} px from "
    return (
        f"{pixels}latents of {gat.latent_size} x {gat.latent_size} x {gat.channels}, width "
        f"{gat.width}, depth {gat.depth}, {gat.num_heads} heads, patches of {gat.patch}, "
        f"{gat.num_classes} classes"
    )


def convert_lada_to_run():
    """A folder of LadaGAN's authors as a run directory."""
    folder = pathlib.Path(FLAGS.official)
    recorded = record(lada_flags(folder), folder)
    switches = {"conditional", *lada_system.GENERATOR.values(), *lada_system.DISCRIMINATOR.values()}
    check_switches(sorted(switches - {"precision", *lada_runs.SIZES}), lada_system, folder)
    found = lada_runs.write_run(folder, FLAGS.out, recorded, FLAGS.optimizers)
    adam = "with" if found["optimizers"] else "without"
    report_run(found, f"{adam} the optimizers' state", FLAGS.dataset)


def convert_gat_to_run():
    """A checkpoint of GAT's authors as a run directory."""
    path = FLAGS.official
    checkpoint = official_gat.read_checkpoint(path, FLAGS.official_quirks)
    recorded = record(gat_runs.flags_of(checkpoint, path), path)
    check_switches(("attention", "modulation"), gat_system, path)
    if FLAGS.dataset:
        gat_system.check_set(dataset_info.load_info(FLAGS.dataset))
    vae = open_autoencoder(FLAGS.dataset)
    found = gat_runs.write_run(checkpoint, FLAGS.out, recorded, path, vae)
    report_run(
        found,
        "without the optimizers' state, which does not name the parameters it belongs to",
        FLAGS.dataset,
    )
    features = checkpoint["discriminator"].teacher_dim
    if recorded["teacher"] == "dinov2" and features != gat_system.DINO_FEATURES:
        print(
            f"its discriminator learns {features} features of a teacher, DINOv2 has "
            f"{gat_system.DINO_FEATURES}: to train it further, convert it with the --teacher it had"
        )


def check_switches(names, system, source):
    """InputError for a change of the networks that those of the authors, in a source, have not.

    Args:
        names: sequence of str, flags that `record` has set.
        system: module of `systems`, whose defaults are the authors'.
        source: where the networks are from, for messages.
    """
    for name in names:
        own, value = system.DEFAULTS.get(name, FLAGS[name].default), FLAGS[name].value
        if value != own:
            raise InputError(
                f"--{name}={start_flags.as_text(value)}: {source} has {name}="
                f"{start_flags.as_text(own)}"
            )


def open_autoencoder(folder):
    """What decodes a run's samples: that of a set that was checked, or of --vae; or None."""
    if folder:
        return gat_system.autoencoder(folder)
    if FLAGS.vae:
        return vae_weights.load(vae_weights.find(FLAGS.vae, FLAGS.cache_dir))[0]
    return None


def report_run(found, optimizers, dataset):
    """Says what was written.

    Args:
        found: dict, what it holds.
        optimizers: str, what became of their state.
        dataset: the set it is of; None or "" if that is not at hand.
    """
    kimg = f"{in_kimg(found['images'])} kimg"
    print(f"{FLAGS.out}: {FLAGS.system}, {kimg}, step {found['step']}, {optimizers}")
    command = f"python train.py --flagfile={FLAGS.out}/flags.cfg --total_kimg=KIMG"
    missing = "" if dataset else " --dataset=SET --force"
    print(f"to train it further: {command}{missing}")


def lada_flags(folder):
    """What an official folder says as flags of `train.py`: dict of text."""
    config = lada_folder.read_config(folder)
    implied = lada_fields.flags_of(config, folder / lada_folder.CONFIG)
    implied |= lada_runs.learning_rates(folder)
    images = lada_folder.read_arrays(folder, ("n_images",)).get("n_images", 0)
    return implied | {"total_kimg": str(images / 1000)}


def record(implied, source):
    """The flags that `train.py` would record for this run, as text; sets them too.

    Args:
        implied: dict of text, flags that are so unless they are given.
        source: where they are from, for messages.
    """
    implied = {**implied, "system": FLAGS.system}
    defaults = train_flags.SYSTEMS[FLAGS.system].DEFAULTS
    recorded = {}
    names = {flag.name for flag in FLAGS.get_key_flags_for_module(train_flags)}
    for name in names - start_flags.UNRECORDED - train_flags.foreign(FLAGS.system):
        flag = FLAGS[name]
        if not flag.present and name in implied:
            try:
                flag.value = flag.parser.parse(implied[name])
            except ValueError as error:
                raise InputError(f"{source}: --{name}={implied[name]}: {error}") from None
        elif flag.value is None:
            flag.value = defaults.get(name)
        if flag.value is not None:
            listed = isinstance(flag.value, list | tuple)
            recorded[name] = ",".join(map(str, flag.value)) if listed else str(flag.value)
    if FLAGS.batch_size < 1:  # steps are counted by it
        raise InputError(f"--batch_size={FLAGS.batch_size}: it must be 1 or more")
    return recorded


if __name__ == "__main__":
    command.run(main)
