"""What does not fit of a network is said of the flag that it was given by."""

import types

import pytest
from absl import flags
from in_process import command, error_line

from ladagan_tf import train
from ladagan_tf.data import dataset_info
from ladagan_tf.flags import start
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.systems import gat

LADA = [
    "--g_widths=8,8,8", "--g_heads=2,2,2", "--g_mlp_widths=4,4,4", "--noise_dim=8",
    "--d_widths=4,8", "--d_heads=2", "--d_mlp_width=4", "--d_out_widths=4,4",
]  # fmt: skip
GAT = [
    "--system=gat", "--g_shape=16,2,2", "--d_shape=16,2,2", "--levels=2", "--latent_size=4",
    "--num_classes=2", "--class_dim=8", "--projector_dim=8",
]  # fmt: skip
FLOW = ["--system=flow", "--g_shape=16,2,2", "--resolution=32", "--patch=8"]
REFUSALS = [
    (LADA, "--g_depths=0,1,1", "--g_depths=0,1,1: give 3 positive integers (for 8x8, 16x16 and"),
    (LADA, "--g_depths=1,1,1,1", "--g_depths=1,1,1,1: give 3 positive integers"),
    (LADA, "--g_depths=", "--g_depths=: give 3 positive integers"),
    (LADA, "--g_depths=1,1.5,1", "--g_depths=1,1.5,1: give integers"),
    (LADA, "--g_depths=1,1,999", "--g_depths=1,1,999: give at most 100"),
    (LADA, "--d_depth=0", "--d_depth=0: give a positive integer"),
    (LADA, "--d_depth=999", "--d_depth=999: give at most 100"),
    (LADA, "--d_depth=2 --nod_ladaformer", "--d_depth=2 with --d_ladaformer=False: there are no"),
    (LADA, "--g_conv_kernel=2", "--g_conv_kernel=2: give an odd integer from 1 to 31"),
    (LADA, "--d_conv_kernel=33", "--d_conv_kernel=33: give an odd integer from 1 to 31"),
    (LADA, "--g_widths=-8,8,8", "--g_widths=-8,8,8: give 3 positive integers"),
    (LADA, "--d_widths=-8,8", "--d_widths=-8,8: give 2 positive integers"),
    (LADA, "--d_widths=4,9", "--d_heads=2 does not divide the last of --d_widths=4,9"),
    (LADA, "--d_mlp_width=0", "--d_mlp_width=0: give a positive integer"),
    (LADA, "--nog_conv", "--g_conv=False with --g_widths=8,8,8: 8 is not a quarter of 8"),
    (LADA, "--loss=nsl --bcr --policy=", "--bcr=True with --policy=: consistency needs"),
    (LADA, "--attention=swin --swin_window=3", "--swin_window=3 does not divide the side 8"),
    (GAT, "--g_shape=16,2,3", "--g_shape=16,2,3: num_heads=3 does not divide the width 16"),
    (GAT, "--d_shape=18,2,2", "--d_shape=18,2,2: width=18 is not a multiple of 4"),
    (GAT, "--g_shape=16,-2,2", "--g_shape=16,-2,2: depth=-2: give a positive integer"),
    (LADA, "--bcr_weight=2", "--bcr_weight=2.0: it needs --bcr"),
    (LADA, "--linformer_rank=3", "--linformer_rank=3: it needs --attention=linformer"),
    (LADA, "--swin_window=4", "--swin_window=4: it needs --attention=swin"),
    (GAT, "--alignment_weight=2 --teacher=none", "--alignment_weight=2.0: it needs --teacher"),
    (GAT, "--patch=0", "--patch=0: it must be a finite number greater than 0"),
    (GAT, "--patch=3", "--patch=3 does not divide the latent_size 4"),
    (FLOW, "--g_shape=16,0,2", "--g_shape=16,0,2: depth=0: give a positive integer"),
]  # fmt: skip


@pytest.fixture(scope="module")
def call():
    with command(train, train_flags.define) as call:
        yield call


@pytest.mark.parametrize(("base", "flags", "said"), REFUSALS)
def test_a_size_that_does_not_fit_ends_in_a_line_that_begins_with_its_flag(
    call, capsys, tmp_path, base, flags, said
):
    fixed = [f"--run_dir={tmp_path / 'run'}", f"--dataset={tmp_path}", "--dry_run"]
    with shapes_only():  # nothing is trained
        line = error_line(call, [*base, *fixed, *flags.split()], capsys)
    assert line.startswith(f"error: {said}")
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_how_deep_the_networks_are(call, capsys, tmp_path):
    flags = ["--g_depths=1,2,1", "--d_depth=2", f"--run_dir={tmp_path / 'run'}"]
    call(*LADA, *flags, f"--dataset={tmp_path}", "--dry_run")
    printed = capsys.readouterr().out
    for part in ("--g_depths=1,2,1", "--d_depth=2", "block_16_2", "multiply-adds"):
        assert part in printed


def test_a_gat_has_as_many_channels_as_the_latents_of_its_set(call, monkeypatch, tmp_path):
    latents = types.SimpleNamespace(channels=6, teacher=None, scaling_factor=1.0)
    info = types.SimpleNamespace(latents=latents, classes=("a", "b"))
    monkeypatch.setattr(dataset_info, "load_info", lambda folder: info)
    flags.FLAGS.unparse_flags()
    read_flags(["train", *GAT, f"--dataset={tmp_path}", f"--run_dir={tmp_path / 'run'}"])
    start.resolve()
    networks, averaged, objective = gat.build(tmp_path)
    assert objective.channels == averaged.channels == 6
    assert {network.channels for network in networks.values()} == {6}
