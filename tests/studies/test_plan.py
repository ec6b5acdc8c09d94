"""A study file becomes a grid of runs, and learning rates are climbed until a system diverges."""

import pytest
from study_rows import row

from ladagan_tf.errors import InputError
from ladagan_tf.studies import plan

SYSTEMS = ["Lada:", "Swin, windows of 8: --attention=swin --window=8"]


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.cfg"
    path.write_text("# what all share\n--batch_size=16\n\n--g_lr=4e-4\n")
    return path


def make(base, systems=SYSTEMS, **changes):
    return plan.make_study("attention", "", base, systems, **changes)


def test_the_grid_is_the_product_of_systems_values_and_seeds(base):
    study = make(base, axes=["bcr: false, true"], seeds=(0, 7))
    assert [run.name for run in study.runs] == [
        f"{system}_bcr-{bcr}_seed-{seed}"
        for system in ("lada", "swin-windows-of-8")
        for bcr in ("false", "true")
        for seed in (0, 7)
    ]
    assert study.runs[-1].axes == {"bcr": "true"}


def test_a_run_has_the_flags_of_the_base_its_system_its_value_and_its_seed(base):
    study = make(base, axes=["bcr: true"], seeds=(7,), evaluate="--metrics=fcd --seed=3")
    swin = ("--attention=swin", "--window=8", "--bcr=true", "--seed=7")
    assert study.runs[1].train == ("--batch_size=16", "--g_lr=4e-4", *swin)
    assert study.evaluate == ("--metrics=fcd", "--seed=3")


def test_a_minus_sign_is_of_a_value_and_of_its_folder(base):
    study = make(base, ["A:"], axes=["margin: -1, 1, -.5, 1e-3", "sizes: 1,-2; 1,2; a-2"])
    assert len({run.name for run in study.runs}) == 12
    assert study.runs[0].name == "a_margin-minus1_sizes-1-minus2_seed-0"
    assert study.runs[-1].name == "a_margin-1e-3_sizes-a-2_seed-0"


def test_semicolons_separate_values_that_have_commas(base):
    study = make(base, axes=["policy: color,translation; color"])
    assert [run.axes["policy"] for run in study.runs[:2]] == ["color,translation", "color"]


def test_both_learning_rates_are_scaled_from_what_the_run_would_have(base):
    study = make(base, ["A:", "B: --g_lr=1e-3 --d_lr=3e-3"], lr_scales=(4.0, 1.0))
    assert study.runs[0].train[-3:] == ("--g_lr=0.0004", "--d_lr=0.0002", "--seed=0")
    assert study.runs[1].train[-3:] == ("--g_lr=0.0016", "--d_lr=0.0008", "--seed=0")
    assert study.runs[3].train[-3:] == ("--g_lr=0.004", "--d_lr=0.012", "--seed=0")
    assert [run.name for run in study.runs[:2]] == ["a_lr-x1_seed-0", "a_lr-x4_seed-0"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"systems": []}, "--system is required"),
        ({"systems": ["--bcr"]}, "--system=--bcr: give NAME"),
        ({"systems": ["A: bcr"]}, "--system=A: bcr: bcr is no flag"),
        ({"systems": ["A: --seed=3"]}, "--seed is what the study decides"),
        ({"systems": ["A: '"]}, "--system=A: ': No closing quotation"),
        ({"systems": ["A:", "a:"]}, "two runs would be in the folder a_seed-0"),
        ({"axes": ["bcr"]}, "--axis=bcr: give FLAG: value"),
        ({"axes": ["window: 4"]}, "--axis=window: --system=Swin, windows of 8 has --window=8"),
        (
            {"systems": ["A:", "B: --nobcr"], "axes": ["bcr: true"]},
            "--axis=bcr: --system=B has --nobcr, which the axis would override; leave one of",
        ),
        ({"axes": ["bcr: true", "bcr: false"]}, "--axis=bcr: it is given more than once"),
        ({"evaluate": "--sweep_psi=0,1"}, "--sweep_psi is what the study decides"),
        ({"evaluate": "--run_dir=x"}, "--run_dir is what the study decides"),
        ({"systems": ["A: --g_lr=x"], "lr_scales": (1.0,)}, "--g_lr=x: give a number"),
    ],
)
def test_what_cannot_be_a_study_is_refused(base, changes, message):
    with pytest.raises(InputError) as error:
        make(base, **changes)
    assert message in str(error.value)


def test_a_base_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--base=.*none\.cfg"):
        make(tmp_path / "none.cfg")


def names(runs):
    return [run.name for run in runs]


def test_a_seed_of_every_system_comes_before_the_next_seed(base):
    study = make(base, ["A:", "B:"], seeds=(5, 2))
    assert names(plan.next_runs(study, {})) == ["a_seed-5", "b_seed-5", "a_seed-2", "b_seed-2"]


def test_what_is_done_is_not_run_again(base):
    study = make(base, ["A:", "B:"])
    assert names(plan.next_runs(study, {"a_seed-0": row("A")})) == ["b_seed-0"]


def ladder(base, **fcds):
    """What may begin after runs "s<seed>_x<scale>" of one system with these FCDs."""
    study = make(base, ["A:"], seeds=(0, 1), lr_scales=(1.0, 2.0, 4.0))
    rows = {}
    for key, fcd in fcds.items():
        seed, scale = key.removeprefix("s").split("_x")
        rows[f"a_lr-x{scale}_seed-{seed}"] = row("A", int(seed), fcd, lr_scale=float(scale))
    return names(plan.next_runs(study, rows))


def test_the_lowest_learning_rate_comes_first(base):
    assert ladder(base) == ["a_lr-x1_seed-0", "a_lr-x1_seed-1"]


def test_the_next_learning_rate_waits_for_all_seeds(base):
    assert ladder(base, s0_x1=50.0) == ["a_lr-x1_seed-1"]


def test_one_stable_seed_is_enough_to_climb_on(base):
    assert ladder(base, s0_x1=50.0, s1_x1=None) == ["a_lr-x2_seed-0", "a_lr-x2_seed-1"]


def test_no_learning_rate_follows_one_at_which_every_seed_diverged(base):
    assert ladder(base, s0_x1=50.0, s1_x1=60.0, s0_x2=None, s1_x2=None) == []


def test_a_metric_worse_by_the_factor_counts_as_divergence(base):
    before = {"s0_x1": 50.0, "s1_x1": 60.0}
    assert ladder(base, **before, s0_x2=110.1, s1_x2=400.0) == []
    assert len(ladder(base, **before, s0_x2=109.9, s1_x2=400.0)) == 2


def test_other_flags_of_a_result_are_named(base):
    study = make(base)
    old, new = study.arguments(study.runs[0]), study.arguments(study.runs[1])
    assert plan.differences(old, old) == ""
    assert plan.differences(old, new) == (
        "train.py --attention=swin is new, train.py --window=8 is new"
    )
    assert "train.py --seed=0 is gone" in plan.differences(old, {**old, "train": []})


@pytest.mark.parametrize(
    "one, other",
    [
        (["--a=1", "--b=x"], ["--b=x", "--a=1"]),
        (["--g_lr=0.001"], ["--g_lr=1e-3"]),
        (["--a=1", "--a=2"], ["--a=2.0"]),
        (["--noise_guidance"], ["--noise_guidance=true"]),
        (["--bcr", "--nojit"], ["--bcr=True", "--jit=false"]),
        (["--policy=color, cutout"], ["--policy=color,cutout"]),
        (["--a=nan"], ["--a=NaN"]),
    ],
)
def test_flags_that_mean_the_same_are_no_others(one, other):
    assert plan.differences({"train": one}, {"train": other}) == ""


def test_a_folder_whose_name_is_a_number_is_no_number():
    same = {"train": ["--dataset=1000"]}, {"train": ["--dataset=1e3"]}
    assert (
        plan.differences(*same) == "train.py --dataset=1000 is gone, train.py --dataset=1e3 is new"
    )


def test_the_last_of_two_values_counts():
    old, new = {"train": ["--a=1", "--a=2"]}, {"train": ["--a=2", "--a=1"]}
    assert plan.differences(old, new) == "train.py --a=2 is gone, train.py --a=1 is new"
    assert plan.differences({"train": ["--a=1"]}, {"train": ["--a=true"]})
