"""What a run is on disk: directory, checkpoints, environment, and what it measured of itself."""

import math

FLAGS_FILE, MODELS_FILE = "flags.cfg", "models.json"  # by which a folder is known as a run
METRICS_FILE = "metrics.jsonl"  # what `evaluate` appends to
# How a generator is sampled, in protocols, and what changes no image.
STRENGTHS = {"psi": 1.0, "guidance": 1.0, "truncation_z": math.inf, "sampler_steps": 0}
# All that tells apart images of one generator and seed.
SAMPLED_BY = (*STRENGTHS, "sampler", "stage")
DEFAULT_RATE = 2e-4  # of Adam, for both networks
