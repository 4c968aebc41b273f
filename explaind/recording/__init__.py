"""Record a training run, and read it back.

| module     | what it holds                                                        |
|------------|----------------------------------------------------------------------|
| recorder   | `record`: hooks on the user's own optimizer                          |
| observer   | what the hooks read, and what makes an update unrecordable           |
| checks     | refusals that need no training step: optimizers, options, modules    |
| gradients  | what happens to gradients between two updates                        |
| memory     | that nobody else touches the optimizer's memory                      |
| state      | the optimizer's memory and options                                   |
| steps      | one update: its batches and options                                  |
| layout     | where each parameter lies in the flat vector θ                       |
| schema     | the arrays of the store, as data                                     |
| creation   | what is written once, at the start                                   |
| tape       | the open end of the store: updates in, chunks out                    |
| directory  | the store's directory: claimed, emptied, sealed                      |
| writer     | the background thread that commits chunks                            |
| journal    | one line per commit                                                  |
| resume     | continuing after an interruption                                     |
| trajectory | the verifying reader                                                 |
| chunks     | its decoded chunks, cached                                           |
| verify     | its checks                                                           |
"""

from __future__ import annotations

from explaind.recording.layout import Layout
from explaind.recording.recorder import Recorder, record
from explaind.recording.steps import MicroBatch, StepRecord
from explaind.recording.trajectory import Trajectory

__all__ = ["Layout", "MicroBatch", "Recorder", "StepRecord", "Trajectory", "record"]
