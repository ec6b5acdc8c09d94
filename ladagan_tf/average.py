"""Makes averages of any length after training.

ladagan average --run_dir=runs/NAME --sigma_rel=0.05,0.1,0.15 --metric=fcd --out=averages

The run stored two power-function averages with every checkpoint (--posthoc_ema of train); others
are linear combinations of these (EDM2, arXiv 2312.02696).
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import average as average_flags

if __name__ == "__main__":
    command.parse(average_flags)  # before TensorFlow is imported

from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.decimals import in_kimg, plain
from ladagan_tf.errors import InputError
from ladagan_tf.files import json_line, new_folder, vacant
from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling import posthoc, run_networks
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.systems import refuse

FLAGS = flags.FLAGS
MUCH = 0.1  # of a profile that the stored ones cannot make


def main():
    """Makes and measures the averages of the flags."""
    with locked(FLAGS.out):
        vacant(FLAGS.out)
        make_averages()


def make_averages():
    """As `main`, where nobody else writes to --out."""
    if FLAGS.metric == "none":
        measuring = "dataset", "features", "metric_images", "inception_weights", "cache_dir"
        refuse(measuring, "it needs --metric")
    lengths = common.sigma_rels("sigma_rel")
    run = RunDirectory(FLAGS.run_dir)
    if not run.models_file.is_file():
        raise InputError(
            f"run_dir={FLAGS.run_dir}: no {run.models_file.name} in it, so it is not a run"
        )
    stored = posthoc.PosthocAverages(run.averages)
    kimg = stored.last_kimg if FLAGS.kimg is None else FLAGS.kimg
    made, errors = stored.reconstruct(lengths, kimg)
    records, metric = [], None
    with new_folder(FLAGS.out) as folder:
        for length, weights, error in zip(lengths, made, errors, strict=True):
            network = run_networks.open_average(FLAGS.run_dir, weights)
            metric = metric or open_metric(network, run)
            name = f"sigma_rel_{length}.keras"  # with all digits: each has a file of its own
            network.save(folder / name)
            record = {"file": name, "sigma_rel": length, "kimg": kimg, "profile_error": error}
            if metric:
                record[metric.name] = metric(of_network(network))
            records.append(record)
        about = {"run_dir": FLAGS.run_dir, "averages": records}
        (folder / "averages.json").write_text(json_line(about), encoding="utf-8")
    print("\n".join(table(records, metric and metric.name)))
    print(f"{FLAGS.out}: {len(records)} .keras files; ladagan generate --model= takes each")


def open_metric(network, run):
    """The metric of --metric, or None.

    Args:
        network: the first generator.
        run: RunDirectory.
    """
    if FLAGS.metric == "none":
        return None
    dataset = FLAGS.dataset or run.flags().get("dataset")
    if dataset is None:
        raise InputError("--dataset is required with --metric: the run does not name one")
    folder = pipeline.open_dataset(dataset, resolution=network.resolution)
    if not FLAGS.dataset:
        dataset_info.require_undamaged(
            dataset_info.load_info(folder), "give --dataset, the set that is not"
        )
    return common.open_metric(folder, dataset)


def table(records, metric):
    """What was made, as lines.

    Args:
        records: list of dicts, of `averages.json`.
        metric: str, the name of what was measured; None for nothing.
    """
    lengths = [str(record["sigma_rel"]) for record in records]
    wide = max(10, *(len(length) + 1 for length in lengths))
    yield f"{'sigma_rel':<{wide}}{'kimg':>12}{'profile error':>15}  {metric or ''}".rstrip()
    best = min(records, key=lambda record: record[metric]) if metric else None
    for length, record in zip(lengths, records, strict=True):
        kimg = in_kimg(1000 * record["kimg"])
        line = f"{length:<{wide}}{kimg:>12}{record['profile_error']:>15.1%}"
        if metric:
            line += f"  {plain(record[metric])}"
            line += "  (best: chosen on this metric, measure it with other images)" * (
                record is best and len(records) > 1
            )
        yield line
    if poor := [str(r["sigma_rel"]) for r in records if r["profile_error"] > MUCH]:
        yield (
            f"warning: sigma_rel {', '.join(poor)}: the stored averages do not make this profile; "
            "more snapshots (--checkpoint_kimg), or a stored length (--posthoc_sigma_rel) nearer "
            "to it, would"
        )


if __name__ == "__main__":
    command.run(main)
