"""Flags of `python -m ladagan_tf.convert`, beside those of `train.py`."""

from absl import flags

from ladagan_tf.flags import common, train


def define():
    """Defines both."""
    train.define()
    flags.DEFINE_string(
        "official",
        None,
        "Folder of the LadaGAN authors (config.json and best-training-checkpoints/). Or of GAT: a "
        ".pt file of the authors (state dicts ema, generator, and discriminator for a run), a "
        "folder of --to_official, one of diffusers (generator/ or that folder itself: config.json "
        "and diffusion_pytorch_model.safetensors, whole or in shards), or a .safetensors file of "
        "one network. Each may be hf:USER/REPO[/SUBFOLDER or /FILE] on the Hugging Face hub: "
        "hf:milmor/LadaGAN/ffhq_128, hf:BiliSakura/GAT-diffusers/GAT-XL-2-256. Give this or "
        "--run_dir.",
    )
    flags.DEFINE_string(
        "gpu_run",
        None,
        "Folder that benchmarks/gpu_run.py wrote on a machine without TensorFlow, to make a run "
        "directory of.",
    )
    flags.DEFINE_string(
        "out",
        None,
        "What to make: NAME.keras, a run directory, or with --to_official an official folder; it "
        "must not exist yet. Required.",
        required=True,
    )
    flags.DEFINE_enum(
        "part",
        "averaged",
        ["averaged", "generator", "discriminator"],
        "Network to write as .keras: the averaged (EMA) generator, the trained one, or the "
        "discriminator.",
    )
    flags.DEFINE_boolean(
        "optimizers",
        True,
        "Run directory: take over the optimizers' state, or start Adam anew, as GAT always does.",
    )
    flags.DEFINE_boolean(
        "to_official",
        False,
        "Write --run_dir in the authors' format, GAT as .safetensors files with the authors' "
        "names (their .pt is a pickle, which is never written).",
    )
    common.define_checkpoint(ema=False)
    for name in ("checkpoint", "average", "vae", "cache_dir"):  # of train's the last two
        flags.declare_key_flag(name)
