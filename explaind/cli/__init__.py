"""The command line: show, plan, influence and verify a recorded run."""

from explaind.cli.main import main

__all__ = ["main"]
