"""Data and model of the longer MNIST run: those of MNIST."""

from __future__ import annotations

from explaind.experiments.mnist.build import build

__all__ = ["build"]
