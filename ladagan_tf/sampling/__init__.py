"""From a trained generator to images: opening it, seeds to latents, walks, and files."""
