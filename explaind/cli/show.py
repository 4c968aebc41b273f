"""What the commands print: short tables on standard output."""

from __future__ import annotations

import math
from pathlib import Path

import xarray as xr
from rich.console import Console
from rich.table import Table

from explaind.attribution.plan import Plan
from explaind.attribution.remade import TOLERANCE
from explaind.attribution.remade_notes import load_notes, summary
from explaind.checkpoints import Checkpoint, GroupedHyperparameters, Hyperparameters
from explaind.recording.trajectory import Trajectory


def describe(run: Trajectory) -> None:
    """The contents of a recording."""
    size = sum(file.stat().st_size for file in Path(run.path).rglob("*") if file.is_file())
    rows = {
        "run": str(run.path),
        "state": "complete" if run.complete else "incomplete: up to its last commit",
        "model": run.manifest.get("model", "unknown"),
        "optimizer": run.optimizer,
        "updates": f"{run.n_steps:,}",
        "parameters": f"{run.layout.size:,} {str(run.layout.dtype).removeprefix('torch.')} in {len(run.layout.names)} tensors",
        **_kept(run),
        "constants": f"{len(run.constants)} frozen parameters and buffers",
        "size on disk": f"{size / 1e6:,.1f} MB",
        "libraries": ", ".join(f"{k} {v}" for k, v in run.manifest.get("libraries", {}).items()),
    }
    if run.n_steps:
        first, last = run.step(0), run.step(run.n_steps - 1)
        samples = sum(len(batch.indices) for batch in first.batches)
        rows["first update"] = (
            f"{samples} samples, lr {first.lr[0]:g}, weight decay {first.weight_decay[0]:g}"
        )
        if run.has_views:
            rows["first update"] += (
                "; samples were seen in recorded views, so train must be explaind.Augmented"
            )
        rows["last update"] = f"lr {last.lr[0]:g}, clip factor {last.clip_factor:g}"
        metrics = run.metrics()
        if len(metrics):
            rows["last metrics"] = ", ".join(f"{k} {v:.4g}" for k, v in metrics.iloc[-1].items())
    _print("recording", rows)


def _kept(run: Trajectory) -> dict[str, str]:
    """What a small recording holds, and how far it was made again."""
    if run.every is None:
        return {}
    notes = load_notes(run)
    found = summary(notes)
    rows = {
        "kept": f"{len(run.kept.steps):,} states, one in {run.every} updates; those between are made again from their batches",
        "made again": "nothing yet; explaind verify makes every update again",
    }
    if notes:
        rows["made again"] = (
            f"{found['remade']:,} of {run.n_steps:,} updates, {found['remade_same_bits']:,} to the bit, "
            f"{found['remade_difference']:.2g} from the kept states at most (tolerance {TOLERANCE[run.layout.dtype]:g})"
        )
    return rows


def print_checkpoint(checkpoint: Checkpoint) -> None:
    """A checkpoint that was read and checked, and the update that follows it."""
    options = checkpoint.hyperparameters
    count = sum(math.prod(checkpoint.shape(name)) for name in checkpoint.names())
    rows = {
        "checkpoint": f"{checkpoint.name}, every file and tensor read and in order",
        "parameters": f"{count:,} in {len(checkpoint.names())} tensors",
        "updates made": "not counted by SGD" if options.step is None else f"{options.step:,}",
        **_next_update(options),
        "clipping": "none" if options.clip_norm is None else f"gradient norm {options.clip_norm:g}",
    }
    for number, note in enumerate(checkpoint.notes, start=1):
        rows[f"note {number}"] = note
    _print("checkpoint", rows)


def _next_update(options: Hyperparameters | GroupedHyperparameters) -> dict[str, str]:
    if isinstance(options, GroupedHyperparameters):
        rates = options.lr if isinstance(options.lr, tuple) else (options.lr,)
        decays = sorted({one.weight_decay for one in options.by_name.values()})
        return {
            "next update": f"{options.optimizer}, lr {' and '.join(f'{rate:g}' for rate in rates)}",
            "weight decay": " and ".join(f"{decay:g}" for decay in decays),
        }
    return {
        "next update": f"AdamW, lr {options.lr:g}, betas {options.betas[0]:g} and {options.betas[1]:g}, eps {options.eps:g}",
        "weight decay": f"{options.weight_decay:g}, not of {len(options.undecayed)} tensors",
    }


def print_plan(plan: Plan) -> None:
    """A plan, in readable units."""
    _print(
        "plan",
        {
            "algorithm": plan.algorithm,
            "explained": f"{plan.steps:,} updates × {plan.tests:,} test samples",
            "parts": f"{plan.blocks} block(s) of {plan.block} test samples",
            "passes": f"{plan.passes:,.0f} forward passes over the test samples",
            "products": f"{plan.gemm_flop / 1e12:,.2f} TFLOP",
            "result": f"{plan.result_bytes / 1e6:,.1f} MB in memory, and on disk before compression",
            "peak memory": f"about {plan.peak_bytes / 1e6:,.0f} MB besides the model and the samples",
            "time": f"about {plan.seconds:,.1f} s on this machine",
        },
    )


def summarize(scores: xr.Dataset, output: str | None) -> None:
    """Sizes, totals and errors of an answer."""
    rows = {
        name: f"{dict(scores[name].sizes)}, total {float(scores[name].sum()):.6g}"
        for name in scores.data_vars
    }
    rows["algorithm"] = f"{scores.attrs['algorithm']}, {scores.attrs['nodes_mean']:.2f} nodes on average"
    rows["written to"] = output or "nowhere (pass --output)"
    _print("influence", rows)


def print_certificate(certificate: xr.Dataset) -> None:
    """The worst errors and the verdict."""
    worst = certificate["replay_relative"]
    if worst.size == 0:
        _print("certificate", {"updates": "0", "verdict": "passed: there is nothing to certify"})
        return
    rows = {
        "updates": f"{certificate.sizes['step']:,}",
        "replay": f"{float(worst.max()):.3g} relative at update {int(worst.step[worst.values.argmax()])} "
        f"(tolerance {certificate.attrs['tolerance']:g} plus rounding)",
    }
    if "remade" in certificate.attrs:
        rows["made again"] = (
            f"{certificate.attrs['remade']:,} updates, {certificate.attrs['remade_same_bits']:,} to the bit, "
            f"{certificate.attrs['remade_difference']:.2g} from the kept states at most"
        )
    if "quadrature_error" in certificate:
        error = certificate["quadrature_error"]
        rows["quadrature"] = (
            f"{float(error.max()):.3g} at worst (tolerance {certificate.attrs['quadrature_tolerance']:g})"
        )
        rows["nodes"] = f"{float(certificate['nodes'].mean()):.2f} on average"
        rows["omitted steps"] = f"{certificate.attrs.get('omitted', 0.0):.3g}"
    rows["verdict"] = "passed" if certificate.attrs["passed"] else "FAILED"
    _print("certificate", rows)


def _print(title: str, rows: dict[str, str]) -> None:
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, value)
    Console(width=None).print(table)
