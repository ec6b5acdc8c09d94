"""What happens in one step, and around it."""

# Adversarial losses of LadaGAN, see `training.losses`: non-saturating, hinge, relativistic.
LOSSES = ("nsl", "hinge", "rpgan")
