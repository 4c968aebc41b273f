"""A page in the browser that asks the tensor of influences by pointing: `explaind explore PATH`.

    sources ─ what lies in the opened folder      questions ─ what is computed when it is asked for, and kept
    views ─ one room per view: its figure, its rows, its words      server ─ its addresses

The page is drawn by Plotly, whose wheel brings its JavaScript: figures are made here in Python, selections come back as the state
in the page's address, and an export is one file. Nothing is fetched from elsewhere.
"""

from __future__ import annotations

__all__: list[str] = []
