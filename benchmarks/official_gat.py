"""GAT's training step and generator here, and in the authors' code, in turn: prints JSON.

    git clone https://github.com/hse1032/GAT ../GAT
    python -m venv ../torch && ../torch/bin/pip install torch torchvision timm einops
    python benchmarks/official_gat.py --code=../GAT --python=../torch/bin/python --threads=1

Four processes take turns, float32 all: both codes with rematerialisation, which is the authors'
only way, and without. Their teacher, and ours, is replaced by constants; no autoencoder is needed.
A gain is how many times as long theirs took, of pairs that follow each other: median, least, most.
Run it on an otherwise idle machine.
"""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[1]
CLASSES, TEACHER, NOISE = 1000, 768, 64  # of the paper's networks for ImageNet
WARM_UP = 2
SIDES = ("ours", "theirs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--code", required=True, type=pathlib.Path, help="the authors' checkout")
    parser.add_argument("--python", required=True, help="of an environment with PyTorch")
    parser.add_argument("--size", default="S/2", help="S/2 (default), B/2, ... at 256 pixels")
    parser.add_argument("--batch_size", type=int, default=2, help="images per step; 2")
    parser.add_argument("--threads", type=int, default=1, help="of each process; 1")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each; 5")
    parser.add_argument("--side", choices=SIDES, help="only this, in this process, as told")
    parser.add_argument("--remat", action="store_true", help="of a --side")
    given = parser.parse_args()
    size = given.size.lower().replace("/", "")
    given.config = str(ROOT / f"configs/gat_{size}_imagenet256.cfg")
    if given.side:
        answer(ours(given) if given.side == "ours" else theirs(given))
        return
    if not pathlib.Path(given.config).is_file():
        parser.error(f"--size={given.size}: there is no {given.config}")
    if not (given.code / "losses" / "Rp_PT_loss.py").is_file():
        parser.error(f"--code={given.code}: it is no checkout of hse1032/GAT")
    print(json.dumps(compared(given), indent=2))


def compared(given):
    """Seconds of each, and gains, of processes that take turns."""
    with contextlib.ExitStack() as stack:
        sides = {
            f"{side}, {'rematerialised' if remat else 'as stored'}": stack.enter_context(
                Side(given, side, remat)
            )
            for remat in (False, True)
            for side in SIDES
        }
        found = {}
        for what in ("step", "generate"):
            rounds = [
                {name: side.seconds(what) for name, side in sides.items()}
                for _ in range(WARM_UP + given.rounds)
            ][WARM_UP:]
            found[what] = {name: spread([r[name] for r in rounds]) for name in sides}
            for way in ("as stored", "rematerialised"):
                gains = [r[f"theirs, {way}"] / r[f"ours, {way}"] for r in rounds]
                found[what][f"gain, {way}"] = spread(gains)
        memory = {name: side.seconds("memory") for name, side in sides.items()}
    sys.path.insert(0, str(ROOT))
    from ladagan_tf.hardware import hardware

    about = {"size": given.size, "batch_size": given.batch_size, "threads": given.threads}
    about |= {**hardware(), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}
    return {"seconds": found, "peak_memory_gb": memory, **about}


def spread(values):
    """[median, least, most], rounded."""
    return [round(f(values), 3) for f in (statistics.median, min, max)]


class Side:
    """A process that makes one call whenever it is asked, and says what that took."""

    def __init__(self, given, side, remat):
        python = sys.executable if side == "ours" else given.python
        flags = [f"--code={given.code.resolve()}", f"--python={given.python}"]
        flags += [f"--size={given.size}", f"--batch_size={given.batch_size}"]
        flags += [f"--threads={given.threads}", f"--side={side}", *["--remat"] * remat]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [python, __file__, *flags], stdin=pipe, stdout=pipe, text=True, bufsize=1
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()

    def seconds(self, what):
        """Of a "step" or to "generate"; or the "memory" that there was at most, in GB."""
        print(what, file=self.process.stdin)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"error: {' '.join(self.process.args)}: it ended, see above")
        return float(line)


def answer(calls):
    """Runs what each line of the standard input names, and prints the seconds."""
    for line in sys.stdin:
        if line.strip() == "memory":
            print(round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2), flush=True)
            continue
        start = time.perf_counter()
        calls[line.strip()]()
        print(time.perf_counter() - start, flush=True)


def ours(given):
    """The calls of this project."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import train_step

    _, step, generate = train_step.functions(given, "float32", int(given.remat))
    calls = {"step": step, "generate": generate}
    return {name: lambda call=call: train_step.synchronise(call()) for name, call in calls.items()}


def theirs(given):
    """The calls of the authors' code, as their train.py makes them on one device."""
    import torch

    torch.set_num_threads(given.threads)
    torch.set_num_interop_threads(1)
    sys.path.insert(0, str(given.code))
    from losses import RpGANPTLoss
    from models.discriminator import GATD_models
    from models.generator import GAT_models

    if not given.remat:
        torch.utils.checkpoint.checkpoint = lambda block, *inputs, **_: block(*inputs)
    name = f"GAT-{given.size}"
    sizes = {"input_size": 32, "num_classes": CLASSES, "z_dims": [TEACHER]}
    sizes |= {"fused_attn": True, "qk_norm": True}
    networks = [table[name](**sizes).train() for table in (GAT_models, GATD_models)]
    generator, discriminator = networks
    averaged = GAT_models[name](**sizes).eval().requires_grad_(False)
    rate = 2e-4 * 768 / generator.hidden_size
    adams = [
        torch.optim.AdamW(n.parameters(), lr=rate, betas=(0.0, 0.99), weight_decay=0.0)
        for n in networks
    ]
    batch = given.batch_size
    tokens = generator.num_patches
    features = {
        "x_norm_clstoken": torch.ones(batch, TEACHER),
        "x_norm_patchtokens": torch.ones(batch, tokens, TEACHER),
    }
    loss = RpGANPTLoss(
        encoders=[types.SimpleNamespace(forward_features=lambda _: features)],
        encoder_types=["dinov2"],
        architectures=["vit"],
        accelerator=types.SimpleNamespace(autocast=contextlib.nullcontext),
        r1_every=1,
        r2_every=1,
        approximate=True,
    )
    images, latents = torch.rand(batch, 3, 256, 256) * 255, torch.randn(batch, 4, 32, 32)
    labels, noise = torch.randint(0, CLASSES, (batch,)), torch.randn(batch, NOISE)
    wrapped = [Wrapped(network) for network in networks]  # as their accelerator does

    def step():
        conditions = {"y": labels}  # to which D's phase adds its noise, which G's reads
        for phase, network, adam in (
            (loss.step_disc, discriminator, adams[1]),
            (loss.step_gen, generator, adams[0]),
        ):
            network.requires_grad_(True)
            value = phase(*wrapped, None, latents, images, 0, conditions)[0].mean()
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            adam.step()
            adam.zero_grad(set_to_none=True)
            network.requires_grad_(False)
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), generator.parameters(), strict=True):
                mean.mul_(0.999).add_(value, alpha=0.001)

    def generate():
        with torch.no_grad():
            averaged(x=latents, y=labels, z=noise)

    return {"step": step, "generate": generate}


class Wrapped:
    """A network that is called and has a `module`, as those of torch's parallel training."""

    def __init__(self, module):
        self.module = module

    def __call__(self, *args, **kwargs):
        return self.module(*args, **kwargs)


if __name__ == "__main__":
    main()
