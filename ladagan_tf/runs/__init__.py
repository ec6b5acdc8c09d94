"""What a run is on disk: directory, checkpoints, environment, and what it measured of itself."""
