"""Packages that only some uses need: what cannot be imported is one line before the work begins."""

import importlib
import sys

import pytest
from in_process import command, error_line

from ladagan_tf import train
from ladagan_tf.data import sources
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import formats, hub
from ladagan_tf.extras import install
from ladagan_tf.flags import train as train_flags
from ladagan_tf.sampling import image_files
from ladagan_tf.weights import dinov2_weights, download

USES = [
    ("demo", "gradio", lambda: importlib.import_module("ladagan_tf.serving.page")),
    ("export", "onnxruntime", lambda: formats.check_formats(["onnx"])),
    ("export", "ai_edge_litert", lambda: formats.check_formats(["litert"])),
    ("hub", "huggingface_hub", lambda: hub.parse("hf:a/b")),
    ("hub", "huggingface_hub", lambda: download.locate("hf:a/b", ["*"])),
    ("lmdb", "lmdb", lambda: sources._lmdb("folder")),
    ("serve", "uvicorn", lambda: importlib.import_module("ladagan_tf.serving.service")),
    ("teacher", "keras_hub", lambda: dinov2_weights.load("dinov2_base", "teacher=dinov2")),
    ("video", "imageio_ffmpeg", lambda: image_files.check_animation("a.mp4")),
]


@pytest.fixture
def broken(monkeypatch, tmp_path):
    """`broken(package)` puts one in its place that was installed, but cannot be imported."""

    def install_one(package):
        (tmp_path / f"{package}.py").write_text("raise OSError('libgl.so: cannot open')")
        monkeypatch.syspath_prepend(tmp_path)
        for name in list(sys.modules):
            if f"{name}.".startswith((f"{package}.", "ladagan_tf.serving.")):
                monkeypatch.delitem(sys.modules, name)

    return install_one


@pytest.mark.parametrize(("extra", "package", "use"), USES)
def test_a_package_that_cannot_be_imported_is_one_line_with_the_reason(broken, extra, package, use):
    broken(package)
    with pytest.raises(InputError) as caught:
        use()
    said = ": it needs packages that cannot be imported here (libgl.so: cannot open): "
    assert str(caught.value).endswith(f"{said}{install(extra)}")


def test_a_run_is_not_begun_that_weights_and_biases_could_not_show(
    broken, capsys, monkeypatch, tmp_path
):
    """Nor where `wandb` is a folder of its runs, which Python would import."""
    given = ["--dataset=shapes", "--wandb=p", f"--run_dir={tmp_path / 'run'}"]
    with command(train, train_flags.define) as call:
        (tmp_path / "here" / "wandb").mkdir(parents=True)
        monkeypatch.syspath_prepend(tmp_path / "here")
        line = error_line(call, given, capsys)
        assert line.startswith("error: --wandb=p: it needs packages that cannot be imported here")
        broken("wandb")
        line = error_line(call, given, capsys)
        assert line.endswith(f"(libgl.so: cannot open): {install('wandb')}")
    assert not (tmp_path / "run").exists()
