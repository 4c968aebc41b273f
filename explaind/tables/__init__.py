"""Tables: one file each; stage outputs in, one CSV out, with a typed Parquet file beside it. `load` reads that.

Columns and units are listed in results/README.md.
"""

from __future__ import annotations

from explaind.tables.typed import load

__all__ = ["load"]
