"""The autoencoder whose latents GAT learns: SD-1.x's architecture."""
