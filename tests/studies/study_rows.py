"""Invented rows of a study."""

MEASURED_HOW = {
    "generated": {"count": 2000, "ema": True},
    "reference": {"images": "shapes-32", "content_sha256": "b" * 64},
    "features": {"network": "classifier", "sha256": "a" * 64},
}
LAYERS = ("latent_to_tokens", "block_8", "conv_16", "block_16", "to_rgb")


def row(system="Lada", seed=0, fcd=50.0, axes=None, lr_scale=None, **changes):
    """One row; `fcd=None` is a run that diverged."""
    measured = fcd is not None
    rate = 2e-4 * (lr_scale or 1.0)
    layers = {f"g_grad_norm/{layer}": [1.0, 2.0] for layer in LAYERS}
    return {
        "study": "attention",
        "system": system,
        "axes": axes or {},
        "lr_scale": lr_scale,
        "seed": seed,
        "arguments": {"train": [f"--g_lr={rate:g}", f"--d_lr={rate:g}"], "evaluate": []},
        "run_dir": f"runs/{system}_{lr_scale}_{seed}",
        "status": "finished" if measured else "diverged",
        "message": None if measured else "a loss became NaN",
        "generator": {"parameters": 1_234_567, "multiply_adds": 43_210_000},
        "discriminator": {"parameters": 7_654, "multiply_adds": 1_000_000},
        "seconds_per_step": 0.125,
        "jobs": 2,
        "kimg": 16.0,
        "metrics": {"fcd": fcd, "precision": 10 / fcd} if measured else {},
        "lower_is_better": {"fcd": True, "precision": False} if measured else {},
        "protocol": MEASURED_HOW if measured else None,
        "gradients": {
            "g_grad_norm": {"median": 0.5 + seed, "max": 3.0},
            "d_grad_norm": {"median": 0.25, "max": 1.0},
            "g_grad_spikes": seed,
            "d_grad_spikes": None,
        },
        "traces": {
            "kimg": [8.0, 16.0],
            "g_grad_norm": [1.0, 0.5 + seed],
            "d_grad_norm": [0.3, 0.2],
            "blocks": layers,
        },
        "environment": {
            "date": "2026-11-21T12:00:00+00:00",
            "revision": "abc1234",
            "tensorflow": "2.21.0",
            "cpu": "A processor",
            "cores": 2,
            "gpus": [],
        },
        **changes,
    }
