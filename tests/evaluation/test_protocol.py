"""An evaluation says what it measured, against what, and how."""

import dataclasses
import json
import resource
import signal

import numpy as np
import pytest
from feature_networks import make_means
from small_generators import make_noise

from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import images, measure, protocol, report, tfgan
from ladagan_tf.evaluation.collection import Collected
from ladagan_tf.evaluation.features import classifier
from ladagan_tf.evaluation.quick import QuickMetric, open_metric
from ladagan_tf.evaluation.report import class_chart
from ladagan_tf.sampling.image_files import sample_archive


@pytest.fixture(scope="module")
def records(two_tone, tmp_path_factory):
    return protocol.evaluate(
        [images.generated(make_noise(), 40, seed) for seed in range(2)],
        images.prepared(two_tone),
        make_means(),
        ("fcd", "modes", "swd"),
        cache_dir=tmp_path_factory.mktemp("cache"),
        progress=False,
    )


def test_every_record_carries_its_whole_protocol(records):
    assert [r["name"] for r in records] == [
        "fcd_classifier_40_vs_121",
        "modes_classifier_40_vs_121",
        "swd_40_vs_121",
    ]
    for record in records:
        found = record["protocol"]
        assert found["generated"]["rounding"].endswith("rounded to nearest")
        assert found["generated"]["image_seeds"] == [0, 39] and found["sets"] == 2
        assert found["reference"]["count"] == 121 and found["reference"]["content_sha256"]
        assert found["features"]["sha256"] and found["features"]["resize"]
        assert {"date", "revision", "tensorflow"} <= set(found["environment"])
        assert record["spread_over"] == "2 seeds"


def test_the_table_shows_numbers_and_protocol(records):
    text = report.table(records)
    for shown in ("fcd_classifier_40_vs_121", "channel means", "of 2", "lower is better", "noise"):
        assert shown in text


def test_a_gats_protocol_tells_how_its_authors_sample_otherwise(noise, two_tone, means, tmp_path):
    published = {"psi": 0.7, "guidance": 1.0, "vae": "sd-vae-ft-ema.safetensors"}
    texts = []
    for about in (published, {**published, "psi": 1.0, "vae": "vae.keras"}):
        gat = dataclasses.replace(noise, num_classes=2, about=about)
        found = protocol.evaluate(
            [images.generated(gat, 10, labels="random")],
            images.prepared(two_tone),
            means,
            ("fcd",),
            cache_dir=tmp_path,
            progress=False,
        )
        texts.append(found[0]["protocol"]["unlike_gats_authors"])
        assert texts[-1] in report.table(found)
    assert texts[0] == "count 10 instead of 50000, uint8 rounded instead of cut off"
    assert "psi 1.0 instead of 0.7, vae vae.keras instead of sd-vae-ft-ema" in texts[1]


def test_moments_from_a_file_go_with_images_for_what_compares_them(
    noise, two_tone, means, tmp_path
):
    real = images.prepared(two_tone)
    about = {"statistics": "v.npz"}
    given = Collected(mean=np.zeros(3), covariance=np.eye(3), images=real, about=about)
    arguments = {"cache_dir": tmp_path, "progress": False}
    sets = [images.generated(noise, 10)]
    found = protocol.evaluate(sets, given, means, ("fcd", "prdc"), **arguments)
    direct = protocol.evaluate(sets, real, means, ("fcd", "prdc"), **arguments)
    assert [r["name"] for r in found][:2] == [
        "fcd_classifier_10",
        "precision_classifier_10_vs_121",
    ]
    assert [r["value"] for r in found[1:]] == [r["value"] for r in direct[1:]]
    assert found[0]["value"] != pytest.approx(direct[0]["value"], rel=0.1)
    about = found[1]["protocol"]["reference"]
    assert about["statistics"] == "v.npz" and about["compared"]["count"] == 121
    with pytest.raises(InputError, match="metrics=swd: the real images have 16 px"):
        protocol.evaluate([unread(20, 32)], given, None, ("swd",))


def test_long_work_is_announced_and_a_part_of_the_reals_named(
    noise, two_tone, means, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(protocol, "LONG_S", 0)
    monkeypatch.setattr(measure, "REALS", 60)
    found = protocol.evaluate(
        [images.generated(noise, 10)],
        images.prepared(two_tone),
        means,
        ("fcd", "prdc"),
        cache_dir=tmp_path,
    )
    assert [r["name"] for r in found][:2] == [
        "fcd_classifier_10_vs_121",
        "precision_classifier_10_vs_60",
    ]
    assert found[1]["definition"].endswith(
        "; 60 real images, drawn with seed 2020 where there are more"
    )
    assert "will take about 0 minutes and 0." in capsys.readouterr().out
    monkeypatch.setattr(protocol, "LONG_S", 120)
    for by_class, said in ((False, ""), (True, "will take about 0 minutes and 10.9 GB")):
        protocol._announce(["fid"], [unread(50_000)], unread(1_281_167), 2048, by_class)
        assert said in (out := capsys.readouterr().out) and bool(out) == by_class


def test_a_quick_look_is_called_one(records):
    inception = {"network": "Inception-2015-12-05, pool_3"}
    record = {**records[0], "protocol": {**records[0]["protocol"], "features": inception}}
    assert "a quick look" in report.table([record])
    whole = {**record["protocol"], "generated": {"count": 50_000}}
    assert "usual protocol" in report.table([{**record, "protocol": whole}])


def test_records_are_appended_as_json_lines(records, tmp_path):
    for _ in range(2):
        written = report.write(records, tmp_path / "new" / "metrics.jsonl", ("dark", "bright"))
    assert [path.name for path in written] == ["metrics.jsonl", "classes.png"]
    assert all(path.exists() for path in written)
    lines = (tmp_path / "new" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [r["name"] for r in records] * 2


def test_generated_images_are_archived_as_they_were_measured(noise, two_tone, means, tmp_path):
    generated = images.generated(noise, 10)
    with sample_archive(tmp_path / "s.npz", 10, 16) as archive:
        protocol.evaluate(
            [generated],
            images.prepared(two_tone),
            means,
            ("fcd",),
            batch_size=4,
            cache_dir=tmp_path,
            archive=archive,
            progress=False,
        )
    with np.load(tmp_path / "s.npz") as saved:
        np.testing.assert_array_equal(saved["arr_0"], next(generated.batches(10)))


def test_an_interrupted_archive_leaves_nothing(tmp_path):
    with (
        pytest.raises(RuntimeError, match="stop"),
        sample_archive(tmp_path / "s.npz", 10, 16),
    ):
        raise RuntimeError("stop")
    assert not list(tmp_path.iterdir())


def test_moments_of_another_network_are_refused(noise, means):
    given = Collected(mean=np.zeros(5), covariance=np.eye(5), about={"statistics": "r.npz"})
    with pytest.raises(InputError, match=r"r\.npz: its mu has 5 features, but .* gives 3"):
        protocol.evaluate([images.generated(noise, 4)], given, means, ("fcd",), progress=False)


def unread(count, resolution=16):
    """Images that must not be asked for."""

    def batches(size):
        raise AssertionError("something is measured")

    return images.Images(count, resolution, batches, {"count": count})


@pytest.mark.parametrize(
    "generated, real, names, message",
    [
        (unread(1), unread(20), ["fcd"], "metrics=fcd: it needs at least 2 generated images"),
        (unread(9), unread(20), ["fcd", "is"], "metrics=is: it needs at least 10 generated images"),
        (unread(3), unread(20), ["prdc"], "metrics=prdc: it needs at least 4 generated images"),
        (unread(20), unread(5), ["prdc"], "metrics=prdc: it needs at least 6 real images"),
        (unread(20), unread(20, 32), ["swd"], "the real images have 32 px, what is measured 16"),
    ],
)
def test_what_could_only_fail_at_the_end_is_refused_at_the_start(
    means, generated, real, names, message
):
    with pytest.raises(InputError, match=message):
        protocol.evaluate([generated], real, means, names, progress=False)


def test_a_network_of_another_size_and_a_missing_engine_are_refused_at_the_start(
    means, monkeypatch
):
    sets = [unread(20)], unread(20)
    with pytest.raises(InputError, match="takes images of 32 px, not of 16 px"):
        protocol.evaluate(*sets, dataclasses.replace(means, resolution=32), ["fcd"])

    def missing():
        raise InputError("no such package")

    monkeypatch.setattr(tfgan, "_eval", missing)
    with pytest.raises(InputError, match="no such package"):
        protocol.evaluate(*sets, means, ["fcd"], engine="tfgan")
    given = Collected(mean=np.zeros(3), covariance=np.eye(3), about={"statistics": "r.npz"})
    with pytest.raises(InputError, match=r"metrics=sfid: dataset=r\.npz has no mu_s and sigma_s"):
        protocol.evaluate(sets[0], given, means, ["sfid"])
    with pytest.raises(InputError, match="engine=tfgan needs the reference's images"):
        protocol.evaluate(sets[0], given, means, ["fcd"], engine="tfgan")
    with pytest.raises(InputError, match=r"computes fid, .*, is, and of metrics=prdc,swd none; le"):
        protocol.evaluate(*sets, means, ["prdc", "swd"], engine="tfgan")


@pytest.mark.parametrize(
    "error", [InputError("no image"), MemoryError(), FloatingPointError("nan")]
)
def test_a_metric_that_fails_is_lost_alone(noise, two_tone, means, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setitem(measure._OURS, "modes", fail)
    failures = []
    found = protocol.evaluate(
        [images.generated(noise, 20, seed) for seed in range(2)],
        images.prepared(two_tone),
        means,
        ("fcd", "modes", "prdc"),
        cache_dir=tmp_path,
        progress=False,
        on_failure=lambda *failure: failures.append(failure),
    )
    assert [record["metric"] for record in found] == [
        "fcd", "precision", "recall", "f_score", "density", "coverage",
    ]  # fmt: skip
    assert failures == [("modes", error)] * 2


def test_without_a_place_for_it_the_reference_is_not_kept_and_that_is_said(
    noise, two_tone, means, tmp_path, capsys
):
    (tmp_path / "file").touch()
    found = protocol.evaluate(
        [images.generated(noise, 10)],
        images.prepared(two_tone),
        means,
        ("fcd",),
        cache_dir=tmp_path / "file",
        progress=False,
    )
    assert found[0]["value"] > 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: cache_dir={tmp_path / 'file'}") and "not kept" in line


def test_a_full_disk_leaves_no_part_of_a_line(records, tmp_path):
    path = tmp_path / "metrics.jsonl"
    report.write(records[:1], path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, limits[1]))
    try:
        with pytest.raises(InputError, match=r"metrics\.jsonl: it cannot be written"):
            report.write(records[:1], path)
        with pytest.raises(InputError, match=r"new\.jsonl: it cannot be written"):
            report.write(records[:1] * 9, tmp_path / "new.jsonl")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert not (tmp_path / "new.jsonl").exists()


def test_real_halves_are_closer_than_noise(two_tone, classifier_file, noise, tmp_path):
    real = images.prepared(two_tone)
    everything = next(real.batches(121))
    half = dataclasses.replace(real, count=60, batches=lambda n: iter([everything[:60]]))
    extractor = classifier(classifier_file)
    fcd = [
        protocol.evaluate([subject], real, extractor, ("fcd", "swd"), progress=False)
        for subject in (half, images.generated(noise, 60))
    ]
    for close, far in zip(*fcd, strict=True):
        assert close["value"] < 0.5 * far["value"]


def test_without_a_network_for_the_quick_metric_one_is_named_that_needs_none(tmp_path):
    folder = prepare("shapes", tmp_path / "set", resolution=16, num_images=20).folder
    how = {"features": "auto", "inception_path": None, "cache_dir": tmp_path}
    message = (
        "metric=fcd: dataset=.*: 20 images; give 100 or more; metric=swd needs no feature network"
    )
    with pytest.raises(InputError, match=message):
        open_metric("fcd", 10, folder, str(folder), **how)


def test_a_quick_metric_needs_as_many_classes_as_the_model(noise, two_tone, means, tmp_path):
    quick = QuickMetric("fcd", 100, two_tone, means, cache_dir=tmp_path)
    with pytest.raises(InputError, match="it has 2 classes, the model 5"):
        quick(dataclasses.replace(noise, num_classes=5))


def test_a_quick_metric_is_named_after_its_size_and_repeats(noise, two_tone, means, tmp_path):
    quick = QuickMetric("fcd", 100, two_tone, means, cache_dir=tmp_path)
    assert quick.name == "fcd_classifier_100"
    assert quick(noise) == quick(noise) > 0
    swd = QuickMetric("swd", 5000, two_tone, None)
    assert swd.name == swd.identity == "swd_121"


def test_quick_metrics_of_other_weights_have_another_identity(two_tone, means, tmp_path):
    found = {
        QuickMetric("fcd", 100, two_tone, network, cache_dir=tmp_path).identity
        for sha256 in ("a" * 64, "b" * 64)
        for network in [dataclasses.replace(means, about=means.about | {"sha256": sha256})]
    }
    name = QuickMetric("fcd", 100, two_tone, means, cache_dir=tmp_path).name
    assert found == {f"{name} {letter * 16}" for letter in "ab"}


def test_the_class_chart_is_written(tmp_path):
    class_chart(tmp_path / "classes.png", ("a", "b"), [3, 1], [1, 0])
    assert (tmp_path / "classes.png").read_bytes()[:4] == b"\x89PNG"


def test_a_line_that_was_cut_short_does_not_spoil_the_next_one(records, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"name": "cut')
    report.write(records[:1], tmp_path / "metrics.jsonl")
    first, second = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert first == '{"name": "cut' and json.loads(second)["name"] == records[0]["name"]


def test_repeats_give_mean_and_spread():
    one = measure.Measurement("fid", 3.0, True, "")
    assert protocol.over_repeats([[one]]) == [one]
    two = measure.Measurement("fid", 5.0, True, "")
    (joined,) = protocol.over_repeats([[one], [two]])
    assert joined.value == 4.0 and joined.spread == pytest.approx(2**0.5)
    assert joined.spread_over == "2 seeds" and joined.details["values"] == [3.0, 5.0]


def test_what_repeats_tell_beside_their_number_is_averaged_too():
    found = [
        measure.Measurement("intra_fid", 3.0, True, "", details={"of": "a", "n": 2, "by": [one, 1]})
        for one in ({"cat": 1.0, "dog": {"value": 1.0}}, {"cat": 2.0})
    ]
    (joined,) = protocol.over_repeats([[each] for each in found])
    assert joined.details == {
        "of": "a", "n": 2, "by": [{"cat": 1.5}, 1], "values": [3.0, 3.0],
    }  # fmt: skip
