"""The model card says where a generator comes from, and only what is known."""

import dataclasses
import json
import shutil
import sys
import types
import unittest.mock

import pytest

from ladagan_tf.data import dataset_info, preparation
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import card, formats, hub
from ladagan_tf.runs import checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.runs.json_lines import sealed
from ladagan_tf.sampling import opening

FILES = {formats.FORMATS[name].file: 1.5e-7 for name in formats.FORMATS}


def written(folder, source, files, run=None):
    card.write(folder, source, files, (1, 7), run)
    return (folder / "README.md").read_text()


def test_the_card_of_a_run_has_data_flags_metrics_and_loading(run, tmp_path):
    text = written(tmp_path, opening.open_run(run.path), FILES, run)
    for part in (
        "license: apache-2.0",
        "![Images of seeds 0 to 63](samples.png)",
        "checkpoint: step-00000002",
        "parameters.",
        "widths: 16, 16, 16",
        "Data: 6 images of 32 x 32 pixels",
        "It began with the weights of `shapes`",
        "- kimg: 0.5\n",
        "    --batch_size=4\n",
        "| fid50k | 3.25 |  |",
        "- generated: checkpoint step-00000002, ema True",
        "| `generator.onnx` | 1.5e-07 |",
        'tf.saved_model.load("saved_model")',
        'keras.saving.load_model("generator.keras")',
        'onnxruntime.InferenceSession("generator.onnx")',
    ):
        assert part in text, part


def test_the_statistics_are_those_of_the_weights_not_of_the_last_step(run, tmp_path):
    for step in (3, 4):
        run.append_stats({"step": step, "kimg": step * 0.25, "d_loss": 9.5})
    text = written(tmp_path, opening.open_run(run.path), FILES, run)
    assert "- kimg: 0.5\n- d_loss: 0.5\n" in text and "9.5" not in text
    untrained = opening.open_run(run.path, "untrained")
    assert "none recorded" in written(tmp_path, untrained, FILES, run)


def test_a_set_is_found_by_the_name_that_prepared_it_and_from_another_folder(
    run, tmp_path, monkeypatch
):
    source = opening.open_run(run.path)
    (tmp_path / "data").mkdir()
    (tmp_path / "shapes").rename(tmp_path / "data" / "shapes-32")
    (tmp_path / "elsewhere").mkdir()
    for flags in ("--dataset=shapes\n--resolution=32\n", "--dataset=data/shapes-32\n"):
        run.flags_file.write_text(flags)
        for folder in (tmp_path, tmp_path / "elsewhere"):
            monkeypatch.chdir(folder)
            text = written(tmp_path, source, FILES, run)
            assert "Data: 6 images of 32 x 32 pixels" in text


def trained_on(run, content):
    """Records a content of the set in the checkpoint of the run."""
    (path,) = run.checkpoints.glob("step-*")
    state = checkpoints.read_state(path)
    about = {"contents": {"dataset": content}}
    (path / checkpoints.STATE).write_text(sealed(state | {"about": about}))


def test_a_set_is_the_runs_if_its_content_is(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run.flags_file.write_text("--dataset=shapes\n--resolution=32\n")
    (tmp_path / "data").mkdir()
    other = preparation.prepare("shapes", "data/shapes-32", resolution=32, num_images=5)
    (tmp_path / "elsewhere/data").mkdir(parents=True)
    run = RunDirectory(run.path.rename(tmp_path / "elsewhere/run"))
    own = (tmp_path / "shapes").rename(tmp_path / "elsewhere/data/shapes-32")
    assert card.find_set(run).count == 5  # nothing says which
    trained_on(run, dataset_info.load_info(own).content_sha256)
    assert card.find_set(run).count == 6
    trained_on(run, "0123abcd")
    text = written(tmp_path, opening.open_run(run.path), FILES, run)
    assert "Data: `shapes`; its description was not found from here; SHA-256" in text
    assert "`0123abcd`" in text and other.content_sha256 not in text


def test_a_folder_that_is_closed_to_the_user_is_no_set(run, monkeypatch):
    closed = unittest.mock.Mock(side_effect=PermissionError(13, "Permission denied", "there"))
    monkeypatch.setattr(card.dataset_info, "load_info", closed)
    assert card.find_set(run) is None and closed.call_count > 1


def test_only_the_latest_metrics_of_these_weights_are_results(run, tmp_path):
    averaged = opening.open_run(run.path)
    text = written(tmp_path, averaged, FILES, run)
    assert text.count("| fid50k |") == 1 and "| fid50k | 3.25 |" in text
    last = dataclasses.replace(averaged, about={**averaged.about, "ema": False})
    text = written(tmp_path, last, FILES, run)
    assert text.count("| fid50k |") == 1 and "| fid50k | 8 |" in text


def test_numbers_of_one_name_that_were_measured_otherwise_do_not_hide_each_other(run, tmp_path):
    source = opening.open_run(run.path)
    ways = [
        {"reference": {"images": "a", "content_sha256": "aa"}},
        {"reference": {"images": "b", "content_sha256": "bb"}},
        {"reference": {"images": "b", "content_sha256": "bb"}, "features": {"sha256": "cc"}},
        {"reference": {"images": "b", "content_sha256": "bb"}, "engine": "tfgan"},
    ]
    lines = [
        {
            "name": "fid50k",
            "metric": "fid",
            "value": value,
            "protocol": {"generated": {**source.about, "model": path}, **way},
        }
        for path, first in (("run", 10.0), (str(run.path), 20.0))
        for value, way in enumerate(ways, start=int(first))
    ]
    (run.path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = written(tmp_path, source, FILES, run)
    shown = [line for line in text.splitlines() if line.startswith("| fid50k |")]
    assert shown == [f"| fid50k | {value} |  |" for value in (20, 21, 22, 23)]
    assert text.count("- reference: images a, content_sha256 aa\n") == 1
    assert text.count("- reference: images b, content_sha256 bb\n") == 3


def test_results_of_one_truncation_do_not_hide_those_of_another(tiny_gat_run, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(tiny_gat_run, path)
    source = opening.open_run(path)
    lines = [
        {
            "name": "fid50k",
            "metric": "fid",
            "value": value,
            "protocol": {"generated": {**source.about, "psi": psi}},
        }
        for value, psi in ((9.0, 0.7), (5.5, 0.7), (3.25, 1.0))
    ]
    (path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    text = written(tmp_path, source, FILES, RunDirectory(path))
    assert text.count("| fid50k |") == 2
    assert "| fid50k | 5.5 |" in text and "| fid50k | 3.25 |" in text and "psi 0.7" in text


def test_the_card_of_a_gat_tells_its_autoencoder_and_how_psi_counts(tiny_gat_run, tmp_path):
    source = opening.open_run(tiny_gat_run)
    text = written(tmp_path, source, FILES, RunDirectory(tiny_gat_run))
    for part in (
        "# GAT 16 x 16",
        "for each of 3 classes",
        "Classes: 0 flags, 1 food-drink, 2 crane, machine.\n",
        "latent_size: 8",
        "widths: 8, 8",
        "images_from: noise",
        source.about["vae_sha256"],
        "- psi: 1.0\n",
        "their 0.3 is 0.7 here",
        "model.generate(num=4, seed=0, labels=[0, 0, 0, 0], psi=1.0)",
        "model.truncate(z, labels, psi=0.7)",
        "over batches of 1, 7 images",
    ):
        assert part in text, part
    assert "attend" not in text


def test_what_is_not_known_is_said(small, run, tmp_path):
    text = written(tmp_path, small, {"saved_model": 0.0})
    assert "what it was trained on is not recorded" in text and "Not evaluated" in text
    assert "onnx" not in text
    run.flags_file.write_text("--dataset=elsewhere/photos\n")
    run.stats_file.unlink()
    text = written(tmp_path, small, {"saved_model": 0.0}, run)
    assert "`elsewhere/photos`; its description was not found from here" in text
    assert "none recorded" in text


def test_the_card_of_a_conditional_generator_passes_labels(conditional, tmp_path):
    text = written(tmp_path, conditional, FILES)
    assert "for each of 3 classes" in text
    assert "generator(z, labels)" in text and "labels=[0, 0, 0, 0]" in text


class FakeHub(types.ModuleType):
    """Records what would be uploaded."""

    def __init__(self, failure=None):
        super().__init__("huggingface_hub")
        self.calls = []
        self.failure = failure

    def HfApi(self):  # noqa: N802 (the hub's name)
        return self

    def create_repo(self, repo_id, exist_ok):
        if self.failure:
            raise self.failure
        self.calls.append((repo_id, exist_ok))

    def upload_folder(self, repo_id, folder_path):
        self.calls.append((repo_id, folder_path))
        return f"https://huggingface.co/{repo_id}/tree/main"


def test_push_uploads_the_folder(monkeypatch, tmp_path):
    fake = FakeHub()
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    assert hub.upload(tmp_path, hub.parse("hf:me/shapes")).endswith("me/shapes/tree/main")
    assert fake.calls == [("me/shapes", True), ("me/shapes", str(tmp_path))]


def test_push_fails_in_one_line(monkeypatch, tmp_path):
    for wrong in ("me/shapes", "hf:me", "hf:me/a/b", "hf:"):
        with pytest.raises(InputError, match="write hf:USER/REPO"):
            hub.parse(wrong)
    refusal = FakeHub(RuntimeError("401 Unauthorized\nlong text"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", refusal)
    with pytest.raises(InputError, match=r"push=hf:me/shapes: .*\(401 Unauthorized\); .* complete"):
        hub.upload(tmp_path, "me/shapes")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="pip install 'huggingface_hub>="):
        hub.parse("hf:me/shapes")
