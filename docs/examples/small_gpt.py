"""A small GPT on real text, with dropout and bfloat16 autocast: which parts learned what comes next, and when?"""

import inspect
import sys

import torch
import torch.nn.functional as F
from torch import nn

import explaind

UPDATES = int(sys.argv[1]) if len(sys.argv) > 1 else 150
LENGTH, WIDTH = 32, 32


class GPT(nn.Module):
    def __init__(self, letters):
        super().__init__()
        self.tokens, self.places = nn.Embedding(letters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 128, dropout=0.1, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, letters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, ids):
        return self.head(self.blocks(self.tokens(ids) + self.places.weight, mask=self.mask, is_causal=True))


def loss_fn(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


text = "\n".join(
    inspect.getdoc(thing) for thing in (inspect.signature, nn.Module, nn.LSTM, torch.optim.AdamW)
)
letters = sorted(set(text))
rows = torch.tensor([letters.index(letter) for letter in text]).unfold(0, LENGTH + 1, LENGTH)
train, test = (rows[:-16, :-1], rows[:-16, 1:]), (rows[-16:, :-1], rows[-16:, 1:])

torch.manual_seed(0)
model = GPT(len(letters))
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
with explaind.record("gpt.zarr", model, optimizer, overwrite=True) as run:
    for _ in range(UPDATES):
        batch = torch.randint(len(train[0]), (16,))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_fn(model(train[0][batch]), train[1][batch])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        run.batch(batch)
        optimizer.step()
        schedule.step()

how = {"train": train, "test": test, "tolerance": 0.01}
certificate = explaind.verify("gpt.zarr", model, loss_fn, **how)
parts = {
    "embeddings": ["tokens.*", "places.*"],
    "block 1": ["*.0.*"],
    "block 2": ["*.1.*"],
    "head": ["head.*"],
}
scores = explaind.influence(
    "gpt.zarr", model, loss_fn, keep=("step", "layer"), groups=parts, target="loss", **how
)
print("certified:", bool(certificate.attrs["passed"]), "updates:", certificate.sizes["step"])
lines = scores.kernel.cumsum("step").plot.line(x="step", figsize=(7, 4))
lines[0].axes.set(
    title="What each part of the GPT learned", xlabel="update", ylabel="change of 16 test losses"
)
lines[0].figure.savefig("gpt.png", dpi=120, bbox_inches="tight")
