"""The synthetic stage outputs of the figures' tests: tables are made of the same ones."""

from tests.figures.conftest import results

__all__ = ["results"]
