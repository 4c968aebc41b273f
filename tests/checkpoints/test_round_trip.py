"""What is written is what is read, and the update that follows can be made from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from explaind.checkpoints import Checkpoint, open_checkpoint, write_checkpoint
from explaind.errors import StoreError
from tests.checkpoints.conftest import Trained
from tests.checkpoints.made import CONFIG, TIED, adamw, backward, edit, make, options, shard, train


def updated(checkpoint: Checkpoint, gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """θ after the update that follows, from the checkpoint's tensors alone, in float64."""
    o = checkpoint.hyperparameters
    (first, second), t = o.betas, o.step + 1
    after = {}
    for name in checkpoint.names():
        read = (checkpoint.weight, checkpoint.exp_avg, checkpoint.exp_avg_sq)
        theta, m, v = (tensor(name).double() for tensor in read)
        g = gradients[name].double()
        m, v = first * m + (1 - first) * g, second * v + (1 - second) * g**2
        step = m / (1 - first**t) / ((v / (1 - second**t)).sqrt() + o.eps)
        after[name] = theta - o.lr * o.decay(name) * theta - o.lr * step
    return after


def follow(checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Compare the next update with torch's own, which moves the model."""
    backward(model, 99, checkpoint.hyperparameters.clip_norm)
    computed = updated(checkpoint, {name: p.grad for name, p in model.named_parameters()})
    optimizer.step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(computed[name], parameter.detach().double(), rtol=1e-7, atol=6e-8)


@pytest.mark.parametrize("updates", [0, 1, 3])
def test_the_next_update_is_that_of_torch(tmp_path: Path, updates: int) -> None:
    model = make()
    optimizer = adamw(model)
    train(model, optimizer, updates)
    write_checkpoint(tmp_path / "here", model, optimizer, options(model, updates), CONFIG)
    checkpoint = open_checkpoint(tmp_path / "here")
    checkpoint.verify()
    follow(checkpoint, model, optimizer)


def test_a_fresh_optimizer_filled_from_the_reader_goes_on_bit_for_bit(
    trained: Trained, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(trained[2])
    model, again = make(), make()
    optimizer = adamw(model)
    train(model, optimizer)
    checkpoint.load_weights(again)
    resumed = adamw(again)
    for name, parameter in again.named_parameters():
        resumed.state[parameter] = {
            "step": torch.tensor(float(checkpoint.hyperparameters.step)),
            "exp_avg": checkpoint.exp_avg(name),
            "exp_avg_sq": checkpoint.exp_avg_sq(name),
        }
    for one, other in ((model, optimizer), (again, resumed)):
        backward(one, 99)
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_what_is_read_is_what_was_trained(trained: Trained) -> None:
    model, optimizer, folder = trained
    checkpoint = open_checkpoint(folder)
    assert checkpoint.name == "step-000003"
    assert checkpoint.config == CONFIG
    assert checkpoint.hyperparameters == options(model)
    assert checkpoint.hyperparameters.decay("model.norm.weight") == 0
    assert checkpoint.hyperparameters.decay("lm_head.weight") == 0.1
    assert checkpoint.notes == ()
    assert checkpoint.names() == tuple(name for name, _ in model.named_parameters())
    for name, parameter in model.named_parameters():
        assert checkpoint.shape(name) == tuple(parameter.shape)
        assert torch.equal(checkpoint.weight(name), parameter)
        for read, kind in ((checkpoint.exp_avg, "exp_avg"), (checkpoint.exp_avg_sq, "exp_avg_sq")):
            assert torch.equal(read(name), optimizer.state[parameter][kind])


@pytest.mark.parametrize("read", ["weight", "exp_avg", "exp_avg_sq"])
def test_computing_in_place_changes_nothing_for_the_next_reader(trained: Trained, read: str) -> None:
    checkpoint = open_checkpoint(trained[2])
    first = getattr(checkpoint, read)("model.norm.weight")
    kept = first.clone()
    first.mul_(3)
    assert torch.equal(getattr(checkpoint, read)("model.norm.weight"), kept)


def test_what_was_read_does_not_follow_the_file(folder: Path) -> None:
    first = open_checkpoint(folder).weight("model.norm.weight")
    kept = first.clone()
    path = folder / "model.safetensors"
    with path.open("r+b") as stream:  # in place: a mapped tensor would change
        stream.write(bytes(path.stat().st_size))
    assert torch.equal(first, kept)


def test_transformers_reads_our_folder(trained: Trained) -> None:
    from transformers import AutoModelForCausalLM

    model, _, folder = trained
    theirs = AutoModelForCausalLM.from_pretrained(folder)
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        assert torch.equal(theirs(input_ids=tokens).logits, model(input_ids=tokens).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_weights_load_into_a_model_in_its_own_dtype(trained: Trained, dtype: torch.dtype) -> None:
    model = make(dtype=dtype)
    open_checkpoint(trained[2]).load_weights(model)
    for mine, parameter in zip(model.parameters(), trained[0].parameters(), strict=True):
        assert mine.dtype == dtype
        assert torch.equal(mine, parameter.to(dtype))


def test_a_model_of_another_shape_is_not_loaded(trained: Trained) -> None:
    model = make({**CONFIG, "intermediate_size": 24})
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(StoreError, match=r"step-000003 does not fit the model: model.layers.0.mlp.gate_proj"):
        open_checkpoint(trained[2]).load_weights(model)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    with pytest.raises(StoreError, match="lm_head.weight differs"):
        open_checkpoint(trained[2]).load_weights(make(TIED))


def test_shards_are_read_like_one_file(trained: Trained, folder: Path) -> None:
    shard(folder)
    whole = open_checkpoint(trained[2])
    parts = open_checkpoint(folder, optimizer=trained[2], name="shards")
    parts.verify()
    assert parts.name == "shards"
    for name in whole.names():
        assert torch.equal(whole.weight(name), parts.weight(name))


def test_tied_embeddings_are_one_parameter(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = make(TIED)
    optimizer = adamw(model)
    train(model, optimizer)
    write_checkpoint(tmp_path / "tied", model, optimizer, options(model), TIED)
    checkpoint = open_checkpoint(tmp_path / "tied")
    assert "lm_head.weight" not in checkpoint.names()
    again = make(TIED)
    with torch.no_grad():
        again.lm_head.weight.zero_()
    checkpoint.load_weights(again)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "tied")
    assert torch.equal(theirs.lm_head.weight, model.lm_head.weight)
    follow(checkpoint, model, optimizer)


def test_low_precision_is_kept(tmp_path: Path) -> None:
    model = make(dtype=torch.bfloat16)
    optimizer = adamw(model)
    train(model, optimizer)
    write_checkpoint(tmp_path / "low", model, optimizer, options(model), CONFIG)
    checkpoint = open_checkpoint(tmp_path / "low")
    assert checkpoint.weight("lm_head.weight").dtype == torch.bfloat16
    assert checkpoint.exp_avg_sq("lm_head.weight").dtype == torch.bfloat16


def test_older_files_may_hold_the_rotary_buffers(trained: Trained, folder: Path) -> None:
    edit(
        folder / "model.safetensors",
        lambda tensors: tensors.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(2)}),
    )
    open_checkpoint(folder).verify()


def test_what_a_killed_writer_left_is_removed(trained: Trained, tmp_path: Path) -> None:
    model, optimizer, _ = trained
    stale = tmp_path / ".step-000003.partial"
    stale.mkdir()
    (stale / "model.safetensors").write_text("half")
    write_checkpoint(tmp_path / "step-000003", model, optimizer, options(model), CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003"]
    assert json.loads((tmp_path / "step-000003" / "state.json").read_text())["schema_version"] == 1
    open_checkpoint(tmp_path / "step-000003").verify()
