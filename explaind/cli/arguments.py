"""The arguments of the command line. Torch-free, so that --help is quick."""

from __future__ import annotations

import argparse

from explaind.cli.options import add_options

#: Of an optimizer's state; `explaind.checkpoints` reads them, and a test compares the two lists.
FORMATS = ("explaind", "torch", "megatron")

EPILOG = """\
examples:
  explaind show run.zarr
  explaind verify run.zarr --problem my_training:problem
  explaind plan run.zarr --problem my_training:problem --keep step layer test output
  explaind influence run.zarr --problem my_training:problem --keep layer train --steps 200:250 --output scores.zarr
  explaind explore results/
  explaind checkpoint run/step-1000 --optimizer states/step-1000 --format torch

A recording holds parameters and batches, not your model's code, loss or data. --problem names a function in a module that can be
imported from here, which takes no arguments and returns (model, loss_fn, train, test): train and test as for
explaind.influence in Python. The options are the arguments of explaind.influence, plan and verify, with the same meaning, units
and defaults. Runs recorded by the workflow (results/<experiment>/trajectory.zarr) need no --problem.

exit status: 0 all is well; 1 a certificate failed; 2 the request could not be carried out (one sentence says why)."""


def make_parser() -> argparse.ArgumentParser:
    """The parser of `explaind`."""
    parser = argparse.ArgumentParser(
        prog="explaind",
        description="What each training step, parameter and training sample contributed to a network's predictions, exactly.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(
        dest="command",
        required=True,
        metavar="show | plan | influence | verify | explore | checkpoint | options",
    )

    show = _command(
        commands, "show", "What is in a recording: model, optimizer, steps, batches, metrics, size on disk."
    )
    show.set_defaults(needs_problem=False)

    plan = _command(
        commands, "plan", "Which algorithm would answer a query, and its passes, memory, disk and time."
    )
    _problem(plan)
    _query(plan)

    influence = _command(
        commands, "influence", "Answer a query to the tensor of influences; write it as a labelled store."
    )
    _problem(influence)
    _query(influence)
    influence.add_argument(
        "--output", metavar="STORE", help="Zarr store to write (xarray opens it); without it, a summary only"
    )
    influence.add_argument("--overwrite", action="store_true", help="replace the output if it exists")

    verify = _command(
        commands,
        "verify",
        "Rebuild every update, measure replay, quadrature and omitted-step errors; status 1 if one is too large.",
    )
    _problem(verify)
    _average(verify)
    _steps(verify)
    _quadrature(verify)
    verify.add_argument("--replay-only", action="store_true", help="leave the quadrature out (much faster)")
    verify.add_argument("--output", metavar="CSV", help="write the certificate, a row per step")

    _explore(commands)
    text = (
        "Read a language model's checkpoint and its optimizer's state once, and check every file and tensor."
    )
    checkpoint = commands.add_parser("checkpoint", help=text, description=text)
    checkpoint.add_argument("folder", metavar="FOLDER", help="config.json and the weights as safetensors")
    checkpoint.add_argument(
        "--optimizer", metavar="PATH", help="file or folder of the optimizer's state (beside the weights)"
    )
    checkpoint.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"of the optimizer's state ({FORMATS[0]})"
    )
    add_options(commands)
    return parser


def _explore(commands: argparse._SubParsersAction) -> None:
    text = "Look at results in the browser: which prediction, when was it made, through which layers, because of which samples."
    explore = commands.add_parser("explore", help=text, description=text)
    explore.add_argument(
        "path",
        metavar="PATH",
        help="results of the workflow, a recorded run, or a store that `explaind influence` wrote",
    )
    _problem(explore)
    explore.add_argument(
        "--port", type=int, default=0, metavar="N", help="of the page on this machine (any that is free)"
    )
    explore.add_argument("--no-browser", action="store_true", help="print the address, and open nothing")
    explore.add_argument(
        "--cache",
        metavar="FOLDER",
        help="where computed answers are kept (the user's cache; nothing is written to PATH)",
    )


def _command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", metavar="RUN", help="a recorded trajectory, such as run.zarr")
    parser.set_defaults(needs_problem=True)
    return parser


def _problem(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--problem",
        metavar="MODULE:FUNCTION",
        help="function that returns (model, loss_fn, train, test) for this run",
    )
    parser.add_argument("--tests", type=int, metavar="N", help="explain the first N test samples only")


def _steps(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--steps",
        metavar="A:B",
        help="updates, counted from 0: A ≤ s < B (200:250), or a list (3,7,9); all by default",
    )


def _quadrature(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-2,
        metavar="X",
        help="accepted |residual| of every step, test sample and output, in units of the target; below 0.001 a float32 run is "
        "evaluated in float64 (0.01)",
    )
    parser.add_argument(
        "--max-nodes",
        type=int,
        default=81,
        metavar="N",
        help="most midpoint nodes of a step and row (a test sample, or their sum), a power of three: 1, 3, 9, 27, … (81)",
    )
    parser.add_argument(
        "--replay-tolerance",
        type=float,
        metavar="X",
        help="accepted length of (rebuilt − observed update), relative to the update, beyond what rounding of the stored "
        "parameters explains (0.001 for float32 runs, 1e-8 for float64 runs)",
    )


def _average(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--average",
        metavar="KIND",
        help="explain an average of the parameters: exponential:DECAY or equal, each with :START:EVERY, the update after which "
        "it was taken first and the updates between (none)",
    )


def _query(parser: argparse.ArgumentParser) -> None:
    _average(parser)
    parser.add_argument(
        "--keep",
        nargs="*",
        default=["step", "layer"],
        metavar="AXIS",
        help="kept axes: step, layer (or parameter), train, test, output; the rest is summed (step layer)",
    )
    parser.add_argument(
        "--importance",
        nargs="*",
        default=[],
        metavar="AXIS",
        help="axes (test, output) over which absolute values are summed, last",
    )
    _steps(parser)
    parser.add_argument(
        "--groups",
        choices=["layers", "all", "parameter"],
        help="parameter groups: one for each layer, one of all parameters, or single parameters (layers)",
    )
    parser.add_argument(
        "--target",
        default="output",
        help="output, loss, margin, or the path of a module for its activation (output)",
    )
    parser.add_argument(
        "--lineage",
        choices=["update", "sample"],
        default="update",
        help="with the axis step: credit a gradient at the update where momentum acts, or where its sample was seen (update)",
    )
    _quadrature(parser)
    parser.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        help="a fixed number of midpoint nodes in place of the adaptive rule of --tolerance and --max-nodes",
    )
    parser.add_argument(
        "--tail-tolerance",
        type=float,
        default=1e-5,
        metavar="X",
        help="momentum weight (a number between 0 and 1) below which gradients from before the steps are left out (0.00001)",
    )
    parser.add_argument(
        "--samples",
        metavar="A:B",
        help="with the axis train: the training samples on it, A ≤ k < B or a list (3,7,9); the others are summed as `others`",
    )
    parser.add_argument(
        "--replay",
        choices=["refuse", "warn"],
        default="refuse",
        help="what to do with a run whose updates cannot be rebuilt: refuse it, or warn and answer all the same (refuse)",
    )
