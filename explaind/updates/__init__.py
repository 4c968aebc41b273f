"""Single updates from checkpoints: one step of AdamW, Adam or SGD in its terms, and the change of a loss along it (Remark F.3)."""

from __future__ import annotations
