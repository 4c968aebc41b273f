"""Explaining one update of a language model: time in forward-backwards, memory in copies of the parameters, and how both grow.

Targets: at most 1.2 × (nodes + 3) forward-backwards of the held-out batch, one of them for checking the losses, at most three
copies of the parameters besides the optimizer's state, cost linear in parameters and in tokens. Parameters are random: time and
memory depend on shapes only. The peak of a process includes what torch and transformers take, so each size runs in a process of
its own, and its memory is measured against the same process's after the model was made.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from benchmarks.setting import show, timed
from explaind.checkpoints import Hyperparameters, open_checkpoint, write_checkpoint
from explaind.config import compose
from explaind.experiments.eurollm.model import llama_config, make_llama, sequence_losses
from explaind.features.quadrature.patterson import LEVELS
from explaind.updates.explain import explain_update
from explaind.updates.path import add_gradient

MEGABYTE = 10**6
SIZES = {"half": 96, "default": 192, "double": 384}  # widths
BATCHES = {"half": 16, "default": 32, "double": 64}  # sequences


def run(folder: Path) -> None:
    """Time, then memory, then growth."""
    width, sequences = SIZES["default"], BATCHES["default"]
    rows = []
    for nodes in (1, 3, 7):
        found = measure(folder, width, sequences, nodes)
        target = nodes + 3
        rows.append((nodes, found["pass"], found["seconds"], found["seconds"] / found["pass"], 1.2 * target))
    show(
        f"One update explained, {found['parameters'] / 1e6:.1f} million parameters, {sequences} × 128 tokens",
        ("nodes", "forward-backward, s", "explained, s", "in forward-backwards", "at most"),
        rows,
    )
    rows = []
    for name, width in SIZES.items():
        made(folder / name, width)  # written here, so that the measured process only reads it
        command = [
            sys.executable,
            "-m",
            "benchmarks.updates",
            str(folder / name),
            str(width),
            str(torch.get_num_threads()),
        ]
        found = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
        copy = 4 * found["parameters"] / MEGABYTE
        rows.append(
            (
                name,
                found["parameters"] / 1e6,
                copy,
                found["peak"] - found["activations"],
                (found["peak"] - found["activations"]) / copy,
                found["activations"],
            )
        )
    show(
        "Peak of explaining one update beside the model, three sizes (θ, u_batch and u_momentum are three copies)",
        ("size", "parameters, million", "one copy, MB", "peak, MB", "copies", "activations of a pass, MB"),
        rows,
    )
    rows = []
    for name, width in SIZES.items():
        found = measure(folder, width, BATCHES["default"], 3)
        rows.append(
            (
                f"{name} model",
                found["parameters"] / 1e6,
                BATCHES["default"] * 128,
                found["seconds"],
                found["seconds"] / found["parameters"] * 1e6,
            )
        )
    for name, count in BATCHES.items():
        found = measure(folder, SIZES["default"], count, 3)
        rows.append(
            (
                f"{name} batch",
                found["parameters"] / 1e6,
                count * 128,
                found["seconds"],
                1e3 * found["seconds"] / (count * 128),
            )
        )
    show(
        "Growth with parameters (s per million) and with tokens (ms per token)",
        ("what", "parameters, million", "tokens", "s", "per unit"),
        rows,
    )


def made(folder: Path, width: int) -> tuple[Any, torch.nn.Module]:
    """A checkpoint of random parameters and moments on disk, and a model of its shape."""
    shape = {**compose("eurollm")["model"], "width": width, "hidden": width * 8 // 3}
    config = llama_config(shape, 128)
    torch.manual_seed(0)
    model = make_llama(config)
    where = folder / f"checkpoint-{width}"
    if not where.exists():
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        add_random_moments(optimizer, model)
        options = Hyperparameters(10, 1e-3, (0.9, 0.95), 1e-8, 0.1, (), 1.0)
        write_checkpoint(where, model, optimizer, options, config)
    return open_checkpoint(where), model


def add_random_moments(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> None:
    """As after some updates."""
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "step": torch.tensor(10.0),
            "exp_avg": 1e-4 * torch.randn_like(parameter),
            "exp_avg_sq": 1e-8 * torch.rand_like(parameter),
        }


def measure(folder: Path, width: int, sequences: int, nodes: int) -> dict[str, float]:
    """Seconds of one explanation with this many nodes, and of one forward-backward of the same batch."""
    checkpoint, model = made(folder, width)
    batch = torch.randint(0, 8192, (sequences, 128), generator=torch.Generator().manual_seed(1))
    nodes_alone = {"relative_tolerance": 0.0, "min_nodes": nodes, "max_nodes": nodes}

    def one_pass() -> Tensor:
        return add_gradient(model, sequence_losses, batch, 8, lambda name, gradient: None)

    one_pass()
    passes = min(timed(one_pass)[1] for _ in range(3))
    _, seconds = min(
        (
            timed(
                lambda: explain_update(
                    checkpoint, model, sequence_losses, batch, batch, samples_per_pass=8, **nodes_alone
                )
            )
            for _ in range(2)
        ),
        key=lambda pair: pair[1],
    )
    assert nodes in LEVELS
    return {"pass": passes, "seconds": seconds, "parameters": sum(p.numel() for p in model.parameters())}


def peak(folder: Path, width: int) -> dict[str, float]:
    """Peak memory in MB above that of the model: of one pass alone, and of the explanation."""
    checkpoint, model = made(folder, width)
    batch = torch.randint(0, 8192, (2, 128), generator=torch.Generator().manual_seed(1))
    options = {"relative_tolerance": 0.0, "min_nodes": 3, "max_nodes": 3, "samples_per_pass": 1}
    add_gradient(model, sequence_losses, batch, 1, lambda name, gradient: None)
    before = psutil.Process().memory_info().rss
    forget_peak()
    add_gradient(model, sequence_losses, batch, 1, lambda name, gradient: None)
    one = highest() - before
    forget_peak()
    explain_update(checkpoint, model, sequence_losses, batch, batch, **options)
    return {
        "activations": max(0.0, one / MEGABYTE),
        "peak": (highest() - before) / MEGABYTE,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def forget_peak() -> None:
    """Let Linux measure this process's highest resident memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def highest() -> int:
    """The highest resident memory of this process since then, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[3]))
    print(json.dumps(peak(Path(sys.argv[1]), int(sys.argv[2]))))
