"""What a run is on disk: directory, checkpoints, environment, and what it measured of itself."""

FLAGS_FILE, MODELS_FILE = "flags.cfg", "models.json"  # by which a folder is known as a run
