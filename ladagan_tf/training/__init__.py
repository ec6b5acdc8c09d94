"""What happens in one step, and around it."""

# Adversarial losses of LadaGAN, see `training.losses`: non-saturating, hinge, relativistic.
LOSSES = ("nsl", "hinge", "rpgan")
# How what changes in a run goes from its start to its end, see `training.schedules`.
SCHEDULES = ("constant", "linear", "cosine")
# How CAT makes stages smaller, see `training.latent_views.pyramid`.
PYRAMIDS = ("mean", "bilinear")
# How the noise of GAT's guidance falls over the levels, and whose it is, see `training.gat`.
NOISE_SCHEDULES = ("exponential", "linear", "cosine", "learned")
NOISE_SIDES = ("both", "fake", "real")
