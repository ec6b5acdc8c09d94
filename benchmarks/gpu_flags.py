"""Flags of train.py that `gpu_run.py` does not look at."""

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError
from ladagan_tf.systems import refuse

WHY = "train.py has it, gpu_run.py has not"
# Those without which the run would be another one.
NEEDED = (
    "init_from", "freeze_d", "subset", "ema_decays", "ema_halflives_kimg", "posthoc_ema", "dry_run",
    "force", "measure_seconds", "wandb",
)  # fmt: skip
# Of what train.py does beside the step. Flagfiles that ship may have them: `convert` keeps them.
BESIDE = {
    "run_dir", "data_dir", "vae", "metric", "metric_kimg", "metric_images", "features",
    "inception_weights", "cache_dir", "checkpoint_kimg", "keep_checkpoints", "grid", "scale",
    "spike_factor", "draw_keys", "strategy", "worker_wait", "virtual_cpus", "jit",
}  # fmt: skip


def is_beside(word):
    """Whether a word of a command line is one of `BESIDE`."""
    return flagfiles.parts(word)[0] in BESIDE


def refuse_those_that_are_not_seen(argv):
    """Raises InputError for `NEEDED`, and for `BESIDE` on the command line `argv` itself."""
    refuse(NEEDED, WHY)
    for word in filter(is_beside, argv[1:]):
        raise InputError(f"{word}: {WHY}")
