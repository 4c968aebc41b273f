"""Single updates from checkpoints: one step of the optimizer in its terms, and a loss along it (Remark F.3)."""

from __future__ import annotations
