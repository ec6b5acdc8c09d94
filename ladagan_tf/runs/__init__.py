"""What a run is on disk: its directory, checkpoints, environment, and what it measured of itself."""
