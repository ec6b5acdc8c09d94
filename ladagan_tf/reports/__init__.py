"""Runs as pages to look at: one self-contained file, which needs no network and no server."""
