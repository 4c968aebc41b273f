"""A small ResNet on real digits, with shifted images and OneCycle: which stage learned what, and when?"""

import sys

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import explaind

UPDATES = int(sys.argv[1]) if len(sys.argv) > 1 else 150


class Block(nn.Module):
    def __init__(self, inside, outside, stride):
        super().__init__()
        self.first, self.norm1 = (
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.GroupNorm(2, outside),
        )
        self.second, self.norm2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.GroupNorm(2, outside)
        self.past = nn.Conv2d(inside, outside, 1, stride)

    def forward(self, x):
        return torch.relu(self.norm2(self.second(torch.relu(self.norm1(self.first(x))))) + self.past(x))


def shifted(images, views):  # a view is a number from 0 to 8: down by its third, right by its rest
    rows = (torch.arange(8) - (views // 3 - 1)[:, None]).clamp(0, 7)
    columns = (torch.arange(8) - (views % 3 - 1)[:, None]).clamp(0, 7)
    return images[
        torch.arange(len(images))[:, None, None], 0, rows[:, :, None], columns[:, None, :]
    ].unsqueeze(1)


digits = load_digits()
images, labels = (
    torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1),
    torch.tensor(digits.target),
)
train, test = (images[:1500], labels[:1500]), (images[1500:1550], labels[1500:1550])

torch.manual_seed(0)
model = nn.Sequential()
for name, part in (("stage 1", Block(1, 8, 1)), ("stage 2", Block(8, 16, 2)), ("stage 3", Block(16, 32, 2))):
    model.add_module(name, part)
model.add_module("head", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=UPDATES)
with explaind.record("resnet.zarr", model, optimizer, overwrite=True) as run:
    for _ in range(UPDATES):
        batch, views = torch.randint(len(train[0]), (64,)), torch.randint(9, (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(shifted(train[0][batch], views)), train[1][batch]).backward()
        run.batch(batch, views=views)
        optimizer.step()
        schedule.step()

how = {"train": explaind.Augmented(train, shifted), "test": test, "target": "loss", "tolerance": 0.01}
stages = {name: [f"{name}.*"] for name in ("stage 1", "stage 2", "stage 3", "head")}
scores = explaind.influence(
    "resnet.zarr", model, F.cross_entropy, keep=("step", "layer"), groups=stages, **how
)
certificate = explaind.verify(
    "resnet.zarr", model, F.cross_entropy, train=how["train"], test=test, tolerance=0.05
)
print("certified:", bool(certificate.attrs["passed"]), float(certificate.replay_relative.max()))
lines = scores.kernel.cumsum("step").plot.line(x="step", figsize=(7, 4))
lines[0].axes.set(
    title="What each stage of the ResNet learned", xlabel="update", ylabel="change of 50 test losses"
)
lines[0].figure.savefig("resnet.png", dpi=120, bbox_inches="tight")
