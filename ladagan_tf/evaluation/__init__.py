"""Numbers one may publish: features, statistics, metrics and the protocol of each."""

QUICK_METRICS = ("fid", "fcd", "fd", "swd")  # during training; each is lower for better images
