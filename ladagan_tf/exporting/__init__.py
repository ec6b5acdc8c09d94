"""A trained generator in other formats, with its card, on a disk or a hub."""
