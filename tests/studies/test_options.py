"""The attribution methods are listed once; who runs or draws them has each of them."""

from __future__ import annotations

from explaind.config.studies import METHODS
from explaind.figures import fig07
from explaind.studies import baseline


def test_every_method_can_be_run_and_drawn() -> None:
    assert {"explaind", *baseline._METHODS} == set(METHODS) == set(fig07.METHODS)
