"""`python -m ladagan_tf.generate` of a GAT: classes, psi, guidance, sweeps."""

import numpy as np
import pytest
from tiny_models import assert_same, read

from ladagan_tf import pictures
from ladagan_tf.sampling import seeds, walks
from ladagan_tf.sampling.image_files import identity
from ladagan_tf.sampling.sampler import of_network

pytestmark = pytest.mark.usefixtures("eagerly")  # a batch or two of each network


def labelled(network, numbers, labels, **strength):
    return pictures.to_uint8(network(seeds.latents(numbers, 8), np.asarray(labels), **strength))


def test_a_gat_has_a_row_per_class_truncated_and_guided(
    main, tiny_gat, tiny_gat_run, tmp_path, capsys
):
    out = tmp_path / "classes.png"
    source = f"--run_dir={tiny_gat_run}", "--seeds=0-2", f"--out={out}"
    main(*source, "--classes=crane,0", "--psi=0.5", "--guidance=1.5")
    said = "a row for each class of crane, machine; flags, psi 0.5, guidance 1.5"
    assert said in capsys.readouterr().out
    strength = {"psi": 0.5, "guidance": 1.5}
    rows = [labelled(tiny_gat, [0, 1, 2], [c] * 3, **strength) for c in (2, 0)]
    assert_same(read(out), pictures.grid(np.concatenate(rows), 3))
    main(*source)
    assert ", psi 1, guidance 1" in capsys.readouterr().out
    assert_same(read(out), pictures.grid(labelled(tiny_gat, [0, 1, 2], [0, 1, 2]), 2))


def test_a_sweep_has_a_row_per_psi_of_the_same_seeds_and_classes(
    main, failing, tiny_gat, tiny_gat_run, tmp_path
):
    out = tmp_path / "sweep.png"
    source = f"--run_dir={tiny_gat_run}", f"--out={out}"
    main(*source, "--sweep_psi=0,0.5,1", "--seeds=0-3", "--classes=1,2")
    strengths, labels = (0.0, 0.5, 1.0), [1, 2, 1, 2]
    rows = [labelled(tiny_gat, range(4), labels, psi=psi) for psi in strengths]
    assert_same(read(out), pictures.grid(np.concatenate(rows), 4))
    assert np.array_equal(rows[0][0], rows[0][2]) and not np.array_equal(rows[2][0], rows[2][2])
    for text in ("0,2", "x", ""):
        assert "give numbers from 0 to 1" in failing(*source, f"--sweep_psi={text}")
    assert "--sweep_psi has its own" in failing(*source, "--sweep_psi=0,1", "--psi=0.5")


def test_images_of_another_psi_are_not_mixed(main, failing, tiny_gat_run, tmp_path):
    source = f"--run_dir={tiny_gat_run}", "--seeds=0-1", f"--out={tmp_path / 'images'}"
    main(*source, "--psi=0.5")
    for other in ("--psi=0.25", "--guidance=2"):
        assert "images of another model" in failing(*source, other)
    main(*source, "--psi=0.5")


def test_a_gat_walks_within_a_class(main, tiny_gat, tiny_gat_run, tmp_path):
    out = tmp_path / "walk.png"
    arguments = "--interpolate", "--classes=1", "--seeds=0,1", "--frames=2", f"--out={out}"
    main(f"--run_dir={tiny_gat_run}", *arguments)
    path = walks.walk(seeds.latents([0, 1], 8), 2)
    wanted = pictures.to_uint8(tiny_gat(path, np.ones(4, np.int32)))
    assert_same(read(out), pictures.grid(wanted, 2))


def test_directions_begin_at_the_image_of_the_seed_in_its_class(
    main, failing, tiny_gat, tiny_gat_run, tmp_path
):
    out = tmp_path / "moved.png"
    source = f"--run_dir={tiny_gat_run}", "--directions=1", f"--out={out}"
    side = tiny_gat.resolution + pictures.MARGIN
    for classes, label in (((), 5 % 3), (("--classes=1",), 1)):
        main(*source, "--seeds=5", *classes)
        middle = read(out)[:, 2 * side : 2 * side + tiny_gat.resolution]
        assert_same(middle, labelled(tiny_gat, [5], [label])[0])
    line = failing(*source, "--seeds=5", "--classes=1,2")
    assert "directions=1: give one class, as --classes=0" in line


def test_any_stage_is_decoded_and_is_another_model(main, tiny_gat, tiny_gat_run, tmp_path, capsys):
    """Images of stages are not mixed, as those of psi are not."""
    out = tmp_path / "stage.png"
    main(f"--run_dir={tiny_gat_run}", "--seeds=0-1", "--stage=1", "--psi=0.5", f"--out={out}")
    assert "psi 0.5, guidance 1, stage 1" in capsys.readouterr().out
    z, labels = seeds.latents([0, 1], 8), np.int32([0, 1])
    first, last = tiny_gat.generator(z, labels, psi=0.5, return_levels=True)
    wanted = pictures.to_uint8(tiny_gat.decode(first))
    assert_same(read(out), pictures.grid(wanted, 2))
    assert np.any(wanted != pictures.to_uint8(tiny_gat.decode(last)))
    staged = [identity(of_network(tiny_gat, stage=stage)) for stage in (None, 1, 2)]
    assert len({str(about) for about in staged}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage=3"], "stage=3: it has stages 1 to 2"),
        (["--attention"], "no SavedModel and no GAT"),
        (["--psi=1.5"], "psi=1.5: give 0 (each class's mean) to 1 (no truncation)"),
        (["--psi=nan"], "psi=nan: it must be a finite number"),
        (["--guidance=0"], "guidance=0: give a number above 0"),
        (["--classes=3"], "classes=3: give numbers from 0 to 2"),
        (["--vae=none.keras"], "--vae=none.keras: no such file; it must be sd15, sd-mse, sd-ema"),
        (["--sweep_psi=0,1", "--attention"], "give one of --interpolate, --attention, "),
        (["--sweep_psi=0,1", "--out=a.npz"], "out=a.npz: give .png"),
        (["--sweep_psi=0,1", "--grid=2x2"], "grid=2x2: it is for a .png of images"),
    ],
)
def test_what_a_gat_cannot_do_is_one_line(
    failing, tiny_gat_run, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in failing(f"--run_dir={tiny_gat_run}", *arguments)
    assert not list(tmp_path.iterdir())
