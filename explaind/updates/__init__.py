"""Single updates from checkpoints: one AdamW step, split into its terms, and the change of a loss along it (Remark F.3)."""

from __future__ import annotations
