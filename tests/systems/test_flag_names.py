"""What does not fit of a network is said of the flag that it was given by."""

import types

import pytest
from absl import flags
from in_process import command, error_line

from ladagan_tf import train
from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.flags import start
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.systems import gat

LADA = [
    "--g_widths=8,8,8", "--g_heads=2,2,2", "--g_mlp_widths=4,4,4", "--noise_dim=8",
    "--d_widths=4,8", "--d_heads=2", "--d_mlp_width=4", "--d_out_widths=4,4",
]  # fmt: skip
NARROW = [word for word in LADA if not word.startswith(("--d_heads", "--d_mlp_width"))]
GAT = [
    "--system=gat", "--g_shape=16,2,2", "--d_shape=16,2,2", "--levels=2", "--latent_size=4",
    "--num_classes=2", "--class_dim=8",
]  # fmt: skip
CAT = ["--system=cat", *GAT[1:]]
FLOW = ["--system=flow", "--g_shape=16,2,2", "--resolution=32", "--patch=8"]
REFUSALS = [
    (LADA, "--g_depths=0,1,1", "--g_depths=0,1,1: give 3 positive integers (for 8x8, 16x16 and"),
    (LADA, "--g_depths=1,1,1,1", "--g_depths=1,1,1,1: give 3 positive integers"),
    (LADA, "--g_depths=", "--g_depths=: give 3 positive integers"),
    (LADA, "--g_depths=1,1.5,1", "--g_depths=1,1.5,1: give integers"),
    (LADA, "--g_depths=1,1,999", "--g_depths=1,1,999: give at most 100"),
    (LADA, "--d_depth=0", "--d_depth=0: give a positive integer"),
    (LADA, "--d_depth=999", "--d_depth=999: give at most 100"),
    (NARROW, "--d_depth=2 --nod_ladaformer", "--d_depth=2 with --d_ladaformer=False: there are no"),
    (LADA, "--g_conv_kernel=2", "--g_conv_kernel=2: give an odd integer from 1 to 31"),
    (LADA, "--conditional", "--conditional: without the set at hand --num_classes must be given"),
    (FLOW[:2], "--patch=8", "--resolution: without the set at hand it must be given"),
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
    (LADA, "--score=per_head --attention=swin --d_ladaformer=false", "--score=per_head: it n"),
    (LADA, "--nog_conv --g_conv_kernel=7", "--g_conv_kernel=7: it needs --g_conv"),
    (NARROW, "--nod_ladaformer --nod_positions", "--nod_positions: it needs --d_ladaformer"),
    (LADA, "--g_output=tanh --range_weight=5", "--range_weight=5.0: --g_output=tanh keeps all"),
    (LADA, "--r1_weight=0 --penalty_share=0.5", "--penalty_share=0.5: it needs --r1_weight or"),
    (LADA, "--ema_halflife_kimg=2 --ema_decay=0.99", "--ema_decay=0.99: --ema_halflife_kimg=2 tak"),
    (LADA, "--virtual_cpus=2", "virtual_cpus=2: it needs strategy=mirrored"),
    (LADA, "--worker_wait=5", "--worker_wait=5.0: it needs --strategy=multiworker"),
    (GAT, "--nofused --attention=additive", "--nofused: it needs --attention=dot_product"),
    (GAT, "--noprecise_penalties", "--noprecise_penalties: it needs --precision=mixed_bfloat16"),
    (GAT, "--r1_weight=0 --r2_weight=0 --exact_penalties", "--exact_penalties: it needs --r1_"),
    (CAT, "--alignment_weight=2", "--alignment_weight=2.0: it needs --teacher"),
    (CAT, "--pyramid=bilinear", "--pyramid=bilinear: of 2 x 2 both are the mean; it needs"),
    (CAT, "--consistency_weight=0 --consistency_weights=1", "--consistency_weights=1: it needs"),
    (FLOW, "--latent_size=8", "--latent_size=8: it needs --space=latents"),
    (FLOW, "--vae=sd15", "--vae=sd15: it needs --space=latents"),
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


WITHOUT_EFFECT = [
    (LADA, "--metric=none --metric_kimg=3", "--metric_kimg=3.0 has no effect: it needs --metric"),
    (LADA, "--metric=swd --features=dinov2", "--features=dinov2 has no effect: --metric=swd needs"),
    (LADA, "--nod_ladaformer --d_heads=2", "--d_heads=2 has no effect: it needs --d_ladaformer"),
    (LADA, "--data_dir=x", "--data_dir=x has no effect: it is for --dataset=tfds:NAME"),
    (GAT, "--projector_dim=8", "--projector_dim=8 has no effect: it needs --teacher"),
    (GAT, "--noise_schedule=cosine", "--noise_schedule=cosine has no effect: it needs --levels=3"),
    (GAT, "--levels=1 --min_information=0.5", "--min_information=0.5 has no effect: it needs --l"),
    (GAT, "--size=XL", "--size=XL has no effect: the sizes that it stands for are all given"),
    (CAT, "--consistency_weight=0 --nostop_anchor", "--stop_anchor=False has no effect: it needs"),
]  # fmt: skip


@pytest.mark.parametrize(("base", "words", "said"), WITHOUT_EFFECT)
def test_what_is_typed_and_has_no_effect_is_named_but_not_what_a_file_says(
    capsys, tmp_path, base, words, said
):
    given = [*base, f"--dataset={tmp_path}", f"--run_dir={tmp_path / 'run'}", *words.split()]
    for typed, expected in ((given, f"warning: {said}"), ([], "")):
        flags.FLAGS.unparse_flags()
        for name in flags.FLAGS:
            flags.FLAGS[name].unparse()
        read_flags(["train", *given])
        start.resolve(["train", *typed])
        lines = capsys.readouterr().err.splitlines()
        assert any(line.startswith(expected) for line in lines) if typed else not lines


def test_a_dry_run_says_how_deep_the_networks_are(call, capsys, tmp_path):
    flags = ["--g_depths=1,2,1", "--d_depth=2", f"--run_dir={tmp_path / 'run'}"]
    call(*LADA, *flags, f"--dataset={tmp_path}", "--dry_run")
    printed = capsys.readouterr().out
    for part in ("--g_depths=1,2,1", "--d_depth=2", "block_16_2", "multiply-adds"):
        assert part in printed


def test_a_dry_run_takes_from_a_set_at_hand_what_is_not_given(call, capsys, monkeypatch, tmp_path):
    info = dict.fromkeys(("count", "resolution"), 16) | {"classes": ("a", "b"), "latents": None}
    info = types.SimpleNamespace(folder="a-set", class_counts=(8, 8), **info)
    monkeypatch.setattr(dataset_info, "load_info", lambda folder: info)
    fixed = [f"--dataset={tmp_path}", f"--run_dir={tmp_path / 'run'}", "--dry_run", "--conditional"]
    for base in (LADA, [*FLOW[:2], "--patch=8"]):
        call(*base, *fixed)
        assert "multiply-adds" in capsys.readouterr().out
    info.classes = ()
    line = error_line(call, [*LADA, *fixed], capsys)
    assert line == "error: --conditional: the images of --dataset=a-set have no classes"


@pytest.mark.parametrize(("base", "said"), [
    (["--conditional"], "--conditional: 2 of the 10 images of a-set have no class"),
    (GAT, "--system=gat: 2 of the 10 images of a-set have no class"),
])  # fmt: skip
def test_a_set_whose_images_have_not_all_a_class_teaches_none(tmp_path, base, said):
    latents = types.SimpleNamespace(size=4) if base is GAT else None
    counts = {"classes": ("a", "b"), "class_counts": (5, 3), "count": 10}
    info = types.SimpleNamespace(latents=latents, folder="a-set", **counts)
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    read_flags(["train", *base, f"--dataset={tmp_path}"])
    with pytest.raises(InputError, match=said):
        train_flags.SYSTEMS[flags.FLAGS.system].check_set(info)


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
