"""Carry out one command. Errors become one sentence on standard error and status 2."""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from explaind.cli.arguments import make_parser
from explaind.errors import ConfigError, ExplaindError, QueryError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `explaind` with these arguments (the process's by default) and return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        return _COMMANDS[options.command](options)
    except ExplaindError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return 130


def _show(options: Namespace) -> int:
    from explaind.cli.show import describe
    from explaind.recording.trajectory import Trajectory

    describe(Trajectory(options.run))
    return 0


def _plan(options: Namespace) -> int:
    import explaind
    from explaind.cli.show import print_plan

    run, (model, loss, train, test, penalty) = _open(options)
    given = {"train": train, "test": test, "penalty": penalty}
    print_plan(explaind.plan(run, model, loss, **given, **_query_options(options)))
    return 0


def _influence(options: Namespace) -> int:
    import explaind
    from explaind.cli.show import summarize
    from explaind.store import check_absent, write_dataset

    if options.output and not options.overwrite:
        check_absent(options.output)  # before the work, not after it
    run, (model, loss, train, test, penalty) = _open(options)
    given = {"train": train, "test": test, "penalty": penalty}
    scores = explaind.influence(run, model, loss, **given, **_query_options(options))
    if options.output:
        write_dataset(scores, options.output, kind="scores", overwrite=options.overwrite)
    summarize(scores, options.output)
    return 0


def _verify(options: Namespace) -> int:
    import explaind
    from explaind.cli.show import print_certificate
    from explaind.store.files import write_csv

    run, (model, loss, train, test, penalty) = _open(options)
    certificate = explaind.verify(
        run,
        model,
        loss,
        train=train,
        test=None if options.replay_only else test,
        steps=_numbers(options.steps),
        tolerance=options.tolerance,
        max_nodes=options.max_nodes,
        replay_tolerance=options.replay_tolerance,
        penalty=penalty,
        average=_average(options.average),
    )
    if options.output:
        write_csv(certificate.to_dataframe().reset_index(), options.output)
    print_certificate(certificate)
    return 0 if certificate.attrs["passed"] else 1


def _explore(options: Namespace) -> int:
    from explaind.explore.open import explore

    def opener(recording: Path) -> Callable[[], Any] | None:
        from explaind.experiments.runs import open_run
        from explaind.explore.sources import Problem
        from explaind.recording.trajectory import Trajectory

        def problem() -> Any:
            _, (model, loss, train, test, penalty) = _open(Namespace(**{**vars(options), "run": recording}))
            groups = None if options.problem else open_run(recording)[1].groups
            return Problem(model, loss, train, test, groups, penalty)

        known = options.problem or {"name", "data", "model", "seed"} <= set(Trajectory(recording).config)
        return problem if known else None

    cache = Path(options.cache) if options.cache else None
    explore(Path(options.path), opener, port=options.port, show=not options.no_browser, cache=cache)
    return 0


def _checkpoint(options: Namespace) -> int:
    from explaind.checkpoints import open_checkpoint
    from explaind.cli.show import print_checkpoint

    opened = open_checkpoint(options.folder, optimizer=options.optimizer, format=options.format)
    opened.verify()
    print_checkpoint(opened)
    return 0


def _options(options: Namespace) -> int:
    from explaind.cli.options import print_options

    print_options(options.experiment, options.scale)
    return 0


_COMMANDS = {
    "show": _show,
    "plan": _plan,
    "influence": _influence,
    "verify": _verify,
    "explore": _explore,
    "checkpoint": _checkpoint,
    "options": _options,
}


def _open(options: Namespace) -> tuple[Any, tuple[Any, Any, Any, Any, Any]]:
    """The trajectory, and (model, loss, train, test, penalty or None) from --problem or from the workflow's own experiment."""
    from explaind.recording.trajectory import Trajectory

    run, rest = Trajectory(options.run), []
    if options.problem:
        model, loss, train, test, *rest = _call(options.problem)
    elif {"name", "data", "model", "seed"} <= set(run.config):
        from explaind.experiments.runs import open_run

        _, experiment = open_run(run.path)
        model, loss, train, test = experiment.model, experiment.loss, experiment.training, experiment.test
    else:
        raise ConfigError(
            "The recording does not say which model, loss and data it belongs to.",
            expected="--problem MODULE:FUNCTION",
            got="a run that was not recorded by the workflow",
            remedy="Write a function that returns (model, loss_fn, train, test) and name it.",
        )
    if options.tests is not None:
        from explaind.features.masked import chosen_tests

        test = chosen_tests(test, slice(0, options.tests))
    return run, (model, loss, train, test, rest[0] if rest else None)


def _call(path: str) -> tuple[Any, ...]:
    module, _, name = path.partition(":")
    sys.path.insert(0, "")
    try:
        problem = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"The problem {path!r} could not be loaded.",
            expected="MODULE:FUNCTION that can be imported from the present folder",
            got=f"{type(error).__name__}: {error}",
        ) from error
    if not isinstance(problem, tuple) or len(problem) not in (4, 5):
        raise ConfigError(
            f"{path} did not return a problem.",
            expected="(model, loss_fn, train, test), and the penalty of a run that had one",
            got=repr(type(problem)),
        )
    return problem


def _query_options(options: Namespace) -> dict[str, Any]:
    return {
        "keep": tuple(options.keep),
        "importance": tuple(options.importance),
        "steps": _numbers(options.steps),
        "groups": None if options.groups in (None, "layers") else options.groups,
        "target": options.target,
        "lineage": options.lineage,
        "tolerance": options.tolerance,
        "max_nodes": options.max_nodes,
        "nodes": options.nodes,
        "tail_tolerance": options.tail_tolerance,
        "samples": _numbers(options.samples),
        "replay": options.replay,
        "replay_tolerance": options.replay_tolerance,
        "average": _average(options.average),
    }


def _average(text: str | None) -> Any:
    """exponential:DECAY[:START[:EVERY]] or equal[:START[:EVERY]]."""
    if text is None:
        return None
    from explaind.ledger import Average

    kind, *numbers = text.split(":")
    try:
        decay = [float(numbers.pop(0))] if kind == "exponential" else []
        when = dict(zip(("start", "every"), map(int, numbers), strict=False))
        if kind in ("exponential", "equal") and len(numbers) <= 2:
            return getattr(Average, kind)(*decay, **when)
    except (IndexError, ValueError):
        pass
    raise QueryError(
        "The average is not understood.",
        expected="exponential:DECAY or equal, each with :START:EVERY after it where they are not 0 and 1",
        got=text,
    )


def _numbers(text: str | None) -> slice | list[int] | None:
    """Of updates, or of samples."""
    if text is None:
        return None
    try:
        if ":" in text:
            first, last = text.split(":")
            return slice(int(first) if first else None, int(last) if last else None)
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise QueryError(
            "The numbers are not understood.", expected="A:B or a list such as 3,7,9", got=text
        ) from error
