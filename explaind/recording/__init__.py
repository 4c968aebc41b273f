"""Record a training run, and read it back.

| module      | what it holds                                                      |
|-------------|--------------------------------------------------------------------|
| recorder    | `Recorder`: hooks on the user's own optimizer                       |
| observer    | what the hooks read, and what makes an update unrecordable         |
| checks      | refusals that need no training step: optimizers, options, modules  |
| gradients   | what happens to gradients between two updates                      |
| penalties          | the announced part of the loss that depends on parameters alone |
| clipping           | clipping by a number, per tensor or entry by entry |
| joining            | parameters that join the optimizer later                        |
| pauses             | tensors without a gradient, or with an emptied state, in some updates |
| together           | several optimizers that make each update together               |
| loaders     | the indices of each batch of a DataLoader                          |
| state       | the optimizer's state (momentum, second moment, count) and options |
| state_watch | that nothing else changes that state between two updates           |
| steps       | one update: its batches and options                                |
| remaking    | what a small recording needs of every update to make it again       |
| kept        | the states that a small recording keeps: every k-th                |
| keeper      | what fills its rows and states                                     |
| layout      | the position of each parameter in the flat vector θ                |
| schema      | the arrays of the store, as data                                   |
| creation    | what is written once, at the start                                 |
| appender    | appends updates to the store, in chunks                            |
| directory   | the store's directory: locked, emptied, marked as complete         |
| writer      | the background thread that commits chunks                          |
| journal     | the commit log: one line per chunk                                 |
| resume      | continuing after an interruption                                   |
| trajectory  | the verifying reader                                               |
| chunks      | its decoded chunks, cached                                         |
| verify      | its checks                                                         |
"""

from __future__ import annotations

from explaind.recording.layout import Layout
from explaind.recording.recorder import Recorder
from explaind.recording.steps import MicroBatch, StepRecord
from explaind.recording.trajectory import Trajectory

__all__ = ["Layout", "MicroBatch", "Recorder", "StepRecord", "Trajectory"]
