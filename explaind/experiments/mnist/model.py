"""A four-layer network for 28 × 28 digits: twice convolution, max-pooling, ReLU; then two linear maps with a ReLU between.

The paper gives the layers and not their sizes. Here: 3 × 3 kernels without padding, so that 28 → 26 → 13 → 11 → 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DigitNet"]


class DigitNet(nn.Module):
    """Maps images `[N, 1, 28, 28]` to log-probabilities `[N, 10]`.

    Args:
        channels: of the two convolutions.
        hidden: width of the first linear map.
    """

    def __init__(self, *, channels: Sequence[int], hidden: int) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(1, first, 3)
        self.conv2 = nn.Conv2d(first, second, 3)
        self.linear1 = nn.Linear(25 * second, hidden)
        self.linear2 = nn.Linear(hidden, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities `[N, 10]`."""
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        x = F.relu(self.linear1(x.flatten(1)))
        return F.log_softmax(self.linear2(x), dim=-1)
