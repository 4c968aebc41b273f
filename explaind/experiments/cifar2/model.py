"""ResNet-9 without normalisation layers: 2,271,168 parameters at width 64 and two classes.

With w = width: conv 3×3 3→w, conv 5×5 stride 2 w→2w, residual(2 × conv 3×3 2w), conv 3×3 2w→4w, max-pool 2, residual(2 × conv 3×3
4w), conv 3×3 4w→2w without padding, adaptive max-pool, linear 2w→classes without bias; ReLU after each convolution, none has a
bias.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResNet9"]


class ResNet9(nn.Module):
    """Maps images `[N, 3, 32, 32]` to log-probabilities `[N, classes]`.

    Args:
        width: channels of the first convolution, w.
        classes: number of outputs.
    """

    def __init__(self, *, width: int, classes: int) -> None:
        super().__init__()
        w = width
        self.conv1 = _convolution(3, w)
        self.conv2 = _convolution(w, 2 * w, size=5, stride=2, padding=2)
        self.residual1 = nn.Sequential(_convolution(2 * w, 2 * w), _convolution(2 * w, 2 * w))
        self.conv3 = _convolution(2 * w, 4 * w)
        self.residual2 = nn.Sequential(_convolution(4 * w, 4 * w), _convolution(4 * w, 4 * w))
        self.conv4 = _convolution(4 * w, 2 * w, padding=0)
        self.linear = nn.Linear(2 * w, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Log-probabilities `[N, classes]`."""
        x = self.conv2(self.conv1(images))
        x = x + self.residual1(x)
        x = F.max_pool2d(self.conv3(x), 2)
        x = x + self.residual2(x)
        x = self.conv4(x).amax((-2, -1))  # the adaptive max-pool to one pixel
        return F.log_softmax(self.linear(x), dim=-1)


def _convolution(
    inputs: int, outputs: int, *, size: int = 3, stride: int = 1, padding: int = 1
) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, padding, bias=False), nn.ReLU())
