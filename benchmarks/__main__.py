"""Run the benchmarks: `python -m benchmarks [name …]`.

Names: recording, small, randomness, layers,
window, memory, batches, mnist, cifar2, contraction, retraining, transplanting, scaling, updates,
explore.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks import (
    batches,
    cifar2,
    contraction,
    explore,
    layers,
    memory,
    mnist,
    randomness,
    recording,
    retraining,
    scaling,
    small,
    transplanting,
    updates,
    window,
)
from explaind.runtime.allocator import keep_memory

ROOMS = {
    "recording": recording,
    "small": small,
    "randomness": randomness,
    "layers": layers,
    "window": window,
    "memory": memory,
    "batches": batches,
    "mnist": mnist,
    "cifar2": cifar2,
    "contraction": contraction,
    "retraining": retraining,
    "transplanting": transplanting,
    "updates": updates,
    "explore": explore,
    "scaling": scaling,  # last: it switches tracing off
}


def main() -> None:
    """Run those named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(ROOMS))
    parser.add_argument("--threads", type=int, default=2, help="torch threads (2)")
    parser.add_argument(
        "--window-steps",
        type=int,
        default=5,
        help="updates in the kernel's window (5; figures use 50)",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    for name in options.names or ROOMS:
        with tempfile.TemporaryDirectory() as folder:
            more = {"steps": options.window_steps} if name == "window" else {}
            ROOMS[name].run(Path(folder), **more)


if __name__ == "__main__":
    main()
