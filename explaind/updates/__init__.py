"""Single updates from checkpoints: one step of AdamW, Adam or SGD in its terms, and what it does to a loss (Remark F.3)."""

from __future__ import annotations
