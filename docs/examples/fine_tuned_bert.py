"""A small BERT, fine-tuned with the Trainer of transformers: because of which training lines does it place a new line?"""

import inspect
import sys

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

import explaind
from explaind.callbacks.transformers import RecordCallback

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
LENGTH, SOURCES = 48, (nn.Transformer, nn.Module, nn.LSTM, torch.optim.AdamW)


def encoded(lines):  # letters as tokens; 0 is padding
    rows = [[min(ord(letter), 127) for letter in line[:LENGTH]] for line in lines]
    ids = torch.tensor([row + [0] * (LENGTH - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


class Lines(torch.utils.data.Dataset):
    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, k):
        return {name: part[k] for name, part in self.inputs.items()} | {"labels": self.labels[k]}


def loss_fn(logits, labels):  # the Trainer divides by the number of labels, which is a weight of the batch
    return F.cross_entropy(logits, labels, reduction="sum")


pages = [[line for line in inspect.getdoc(source).splitlines() if len(line) > 20][:40] for source in SOURCES]
lines = [line for page in pages for line in page]
labels = torch.tensor([number for number, page in enumerate(pages) for _ in page])
known = torch.arange(len(lines)) % 5 != 0
data = Lines({name: part[known] for name, part in encoded(lines).items()}, labels[known])
new = {name: part[~known] for name, part in encoded(lines).items()}

torch.manual_seed(0)
sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
model = BertForSequenceClassification(BertConfig(vocab_size=128, num_labels=len(SOURCES), **sizes))
arguments = TrainingArguments(
    "trainer", num_train_epochs=EPOCHS, per_device_train_batch_size=16, learning_rate=1e-3, save_strategy="no",
    report_to=[], use_cpu=True, disable_tqdm=True,
)  # fmt: skip
with RecordCallback("bert.zarr", overwrite=True) as callback:
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

how = {"train": data, "test": (new, labels[~known])}
certificate = explaind.verify("bert.zarr", model, loss_fn, tolerance=0.05, **how)
scores = explaind.influence("bert.zarr", model, loss_fn, keep=("train", "test"), target="loss", **how)
print("certified:", bool(certificate.attrs["passed"]), float(certificate.replay_relative.max()))
best = int((scores.final - scores.initial).argmin())  # the line that was learned best
taught = [lines[k] for k in torch.nonzero(known)]
print(lines[int(torch.nonzero(~known)[best])], "- because of:")
print(*(f"  {taught[k]}" for k in scores.kernel.isel(test=best).argsort().values[:3]), sep="\n")
pages = [SOURCES[k].__qualname__ for k in labels[known]]
sums = scores.kernel.isel(test=best).to_series().groupby(pages).sum()
axes = sums.plot.barh(
    figsize=(7, 2.5), xlabel="change of the loss of one new line", title="Because of lines from"
)
axes.figure.savefig("bert.png", dpi=120, bbox_inches="tight")
