"""One experiment's rows of table 1: do the summed influences reproduce the model's predictions, at which number of nodes?

The prediction rebuilt for test sample x is f_{θ_0}(x) + Σ I + Σ R, without the residual. The paper uses 100 nodes at every step;
the adaptive row refines only where the residual is too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from explaind.config.declarations import Stage
from explaind.store import read_dataset
from explaind.store.files import write_csv
from explaind.studies.agreement import fidelity

__all__ = ["rebuilt", "write"]

STAGE = Stage(options=("model.name", "data.name"), requires="study.quadrature", memory=1500, runtime=10)


def write(config: Mapping[str, Any], *, quadratures: Sequence[Path], influence: Path, output: Path) -> None:
    """Write one experiment's rows, fixed numbers of nodes first (ascending), the adaptive row last.

    Args:
        config: resolved configuration; read are `model.name` and `data.name`.
        quadratures: stores of kind "quadrature".
        influence: store of kind "influence".
        output: CSV with the columns of `explaind.tables.table01_fidelity`.
    """
    rows = []
    for path in quadratures:
        result = read_dataset(path, kind="quadrature")
        rows.append(
            {
                "nodes": result.attrs["nodes"],
                **fidelity(result["predicted"].values, result["final"].values),
                "mean_nodes": result.attrs["nodes_mean"],
                "tests": result.sizes["test"],
                "steps": result.attrs["steps"],
            }
        )
    rows.sort(key=lambda row: int(row["nodes"]))
    result = read_dataset(influence, kind="influence")
    rows.append(
        {
            "nodes": "adaptive",
            **fidelity(rebuilt(result), result["final"].values),
            "mean_nodes": float(result["nodes"].mean()),
            "tests": result.sizes["test"],
            "steps": result.sizes["step"],
        }
    )
    named = [{"model": config["model"]["name"], "data": config["data"]["name"], **row} for row in rows]
    write_csv(pd.DataFrame(named), output)


def rebuilt(influence: xr.Dataset) -> np.ndarray:
    """f_{θ_0} + Σ I + Σ R `[test, output]`, float64, without the residual."""
    terms = influence["kernel"].astype(np.float64) + influence["regularization"].astype(np.float64)
    total = influence["initial"].astype(np.float64) + terms.sum("layer")
    return total.transpose("test", "output").values
