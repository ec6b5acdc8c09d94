"""CAT: its flags of `train.py`, which are mostly GAT's, and the networks and objective they mean.

*Unconfirmed*, see `training.cat`: no official code is public.
"""

from absl import flags

from ladagan_tf.models.gat.sizes import SIZES
from ladagan_tf.systems import gat, group, listed, refuse, refuse_without
from ladagan_tf.training import PYRAMIDS

FLAGS = flags.FLAGS
# Of GAT's flags those that mean something here, too.
SHARED = (
    "size", "g_shape", "d_shape", "modulation", "patch", "latent_size", "levels", "class_dim",
    "projector_dim", "remat", "fused", "vae", "latent_augment", "teacher", "alignment_weight",
    "precise_penalties", "width_aware_lr",
)  # fmt: skip
DEFAULTS = {
    **gat.DEFAULTS,
    "modulation": "shift_scale_gate",
    "r1_weight": 0.5,
    "r2_weight": 0.5,
    "penalty_share": 0.25,
    "width_aware_lr": False,
}
WITHOUT = frozenset()
UNCONFIRMED = frozenset({
    "modulation", "d_shape", "class_dim", "projector_dim", "noise_dim", "latent_augment", "teacher",
    "alignment_weight", "r1_weight", "r2_weight", "penalty_share", "pyramid", "consistency_weight",
    "consistency_weights", "stop_anchor", "g_lr", "d_lr", "width_aware_lr", "beta1", "beta2",
    "epsilon", "clip_norm", "batch_size", "ema_decay",
})  # fmt: skip


def define():
    """Defines CAT's own; GAT's are defined."""
    for name in SHARED:
        flags.declare_key_flag(name)
    _define_objective_flags()


@group("Objective of CAT")
def _define_objective_flags():
    flags.DEFINE_enum(
        "pyramid",
        "mean",
        list(PYRAMIDS),
        "How the outputs that D sees at a smaller scale are made smaller: by averages of 2 x 2, or "
        "bilinear without antialiasing, which reads the two middle pixels. Unconfirmed.",
    )
    flags.DEFINE_float(
        "consistency_weight",
        0.1,
        "Weight in G's loss of the squared distances of its earlier outputs from the last, their "
        "anchor; 0: off. Unconfirmed.",
    )
    flags.DEFINE_list(
        "consistency_weights",
        [],
        "Weight of each earlier output in that, the first one's first, as 0.33,0.5,1, which "
        "1 / (levels - k), those by default, are of four. Unconfirmed.",
    )
    flags.DEFINE_boolean(
        "stop_anchor",
        True,
        "No gradient of those distances into the last output. Unconfirmed.",
    )


def implied():
    """Dict from flag to what others say of it: D is as large as B beside every generator.

    Raises:
        InputError: for a flag that has no effect without another one.
    """
    gat.refuse_idle()
    refuse_without("consistency_weights", FLAGS.consistency_weight, "--consistency_weight")
    if FLAGS.levels <= 2:
        refuse(["pyramid"], "of 2 x 2 both are the mean; it needs --levels=3 or more")
    return {"g_shape": gat.shape_of(SIZES[FLAGS.size]), "d_shape": gat.shape_of(SIZES["B"])}


def build(folder):
    """The networks, a generator for the average, and the objective: see `gat.build`."""
    from ladagan_tf.models.gat.scales import CatDiscriminator
    from ladagan_tf.training.cat import CatObjective

    return gat.assembled(
        folder,
        CatDiscriminator,
        CatObjective,
        consistency_weight=FLAGS.consistency_weight,
        consistency_weights=listed(
            "consistency_weights",
            float,
            "finite numbers from 0 on, as 0.33,0.5,1",
            lambda weight: weight >= 0,
        ),
        stop_anchor=FLAGS.stop_anchor,
        kernel=FLAGS.pyramid,
    )


trainer = gat.trainer
check_set = gat.check_set
autoencoder = gat.autoencoder
learning_rate = gat.learning_rate
step_cost = gat.step_cost
cost_report = gat.cost_report
