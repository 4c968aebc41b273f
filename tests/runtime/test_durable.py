"""The state of a job: kept, found again, told apart, discarded where it is damaged or another's, and removed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from explaind.errors import StoreError
from explaind.runtime import durable
from explaind.runtime.identity import identity
from explaind.runtime.leftovers import remove_half_written
from explaind.store.pieces import read_piece, write_piece


def counted(output: Path, items: int, *, stop: int | None = None, owner: str = "a") -> list[int]:
    """A job that computes squares; which of them it computed. It is killed before the item `stop`."""
    computed = []

    def square(item: int) -> float:
        if item == stop:
            raise KeyboardInterrupt
        computed.append(item)
        return float(item * item)

    with durable.durable(output, owner, every=0):
        squares = list(durable.each("squares", range(items), square))
        assert squares == [float(i * i) for i in range(items)]
    return computed


def state(output: Path) -> Path:
    return output.with_name(f".{output.name}.resume")


def killed(output: Path, *, stop: int, owner: str = "a") -> None:
    with pytest.raises(KeyboardInterrupt):
        counted(output, 8, stop=stop, owner=owner)


def test_a_job_goes_on_where_it_was_killed_and_leaves_nothing(tmp_path: Path) -> None:
    output = tmp_path / "squares.zarr"
    killed(output, stop=5)
    assert state(output).is_dir()
    assert counted(output, 8) == [5, 6, 7]
    assert list(tmp_path.iterdir()) == []
    assert counted(output, 8) == list(range(8)), "a finished job starts anew"


def test_a_job_killed_before_it_kept_anything_leaves_nothing(tmp_path: Path) -> None:
    killed(tmp_path / "o", stop=0)
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_job_is_said_and_not_used(tmp_path: Path, capsys) -> None:
    output = tmp_path / "o"
    killed(output, stop=5, owner="another configuration")
    assert counted(output, 8, owner="this one") == list(range(8))
    assert "other inputs, code or options is discarded" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_is_said_and_not_used(tmp_path: Path, capsys, damage: str) -> None:
    output = tmp_path / "o"
    killed(output, stop=5)
    (file,) = state(output).glob("*.npz")
    content = bytearray(file.read_bytes())
    content[content.index(b"results")] ^= 4
    file.write_bytes({"flip": content, "cut": content[:-7], "empty": b""}[damage])
    assert counted(output, 8) == list(range(8))
    assert f"The file {file} cannot be read" in capsys.readouterr().out


def test_a_damaged_mark_means_another_job(tmp_path: Path) -> None:
    killed(tmp_path / "o", stop=5)
    (state(tmp_path / "o") / "job.json").write_text("{")
    assert counted(tmp_path / "o", 8) == list(range(8))


def test_what_stages_let_grow_beside_their_output_is_part_of_the_state(tmp_path: Path) -> None:
    """A recording grows in <output>.partial, checkpoints in .<output>.<digest>."""
    output = tmp_path / "o.zarr"
    ours = [tmp_path / "o.zarr.partial", tmp_path / ".o.zarr.0123456789ab"]
    others = [tmp_path / name for name in ("oxzarr.partial", "o.zarr.partially", ".o.zarr.other", "p.zarr")]
    for path in (*ours, *others):
        path.mkdir()
    killed(output, stop=0)
    assert not any(path.exists() for path in ours), "of nobody knows which configuration"
    assert all(path.exists() for path in others)
    killed(output, stop=5)
    ours[0].mkdir()
    killed(output, stop=6)
    assert ours[0].exists(), "of this configuration"
    killed(output, stop=5, owner="another")
    assert not ours[0].exists()


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    names = (
        ".o.zarr.partial-77",
        ".o.zarr.old-77",
        ".o.77.zarr",
        "o.zarr.partial",
        ".o.zarr.resume",
        "o.zarr",
        ".p.77.zarr",
    )
    for name in names:
        (tmp_path / name).mkdir()
    remove_half_written([tmp_path / "o.zarr", tmp_path / "missing" / "o"])
    assert {path.name for path in tmp_path.iterdir()} == set(names[3:])


def test_time_decides_when_something_is_kept(tmp_path: Path, monkeypatch) -> None:
    """Every 60 s of work; and where keeping takes long, so rarely that it takes 2 % of the time."""
    now, saved = [0.0], []
    monkeypatch.setattr(durable.time, "monotonic", lambda: now[0])

    def slow(path: Path, content: float) -> None:
        saved.append(content)
        now[0] += 3

    monkeypatch.setattr(durable, "write_piece", slow)
    with durable.durable(tmp_path / "o", "a", every=60):
        kept = durable.section("loop")
        for _ in range(400):
            now[0] += 1
            kept.offer(lambda: now[0])
        kept.close(lambda: -1.0)
    assert saved == [60.0, 150.0, 300.0, -1.0]


def test_a_short_job_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(durable, "write_piece", lambda *_: pytest.fail("written"))
    with durable.durable(tmp_path / "o", "a", every=60):
        assert list(durable.each("squares", range(9), float)) == [float(i) for i in range(9)]


def test_without_a_job_nothing_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = durable.section("loop")
    kept.offer(lambda: pytest.fail("asked"))
    assert kept.load() is None and list(durable.each("squares", [1, 2], float)) == [1.0, 2.0]
    with durable.workspace(tmp_path / "o") as folder:
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_stops_keeping_and_not_the_job(tmp_path: Path, monkeypatch, capsys) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable, "write_piece", full)
    assert counted(tmp_path / "o", 3) == [0, 1, 2]
    assert capsys.readouterr().out.count("No space left") == 1


def test_loops_of_the_same_name_are_told_apart_by_their_order_and_scope(tmp_path: Path) -> None:
    def job(stop: str | None) -> Iterator[str]:
        for name in ("first", "second"):
            with durable.scope(name):
                for number in range(2):
                    kept = durable.section("loop")
                    if (known := kept.load()) is not None:
                        yield f"known {known}"
                        continue
                    if stop == f"{name} {number}":
                        raise KeyboardInterrupt
                    kept.close(lambda text=f"{name} {number}": text)
                    yield f"{name} {number}"

    with pytest.raises(KeyboardInterrupt), durable.durable(tmp_path / "o", "a", every=0):
        list(job("second 1"))
    with durable.durable(tmp_path / "o", "a", every=0):
        assert list(job(None)) == ["known first 0", "known first 1", "known second 0", "second 1"]


def test_what_is_left_between_items_is_kept_with_them(tmp_path: Path) -> None:
    class Random:
        def __init__(self) -> None:
            self.generator = torch.Generator().manual_seed(0)

        def state(self) -> torch.Tensor:
            return self.generator.get_state()

        def restore(self, state: torch.Tensor) -> None:
            self.generator.set_state(state)

    def job(stop: int | None) -> list[float]:
        random = Random()

        def draw(item: int) -> float:
            if item == stop:
                raise KeyboardInterrupt
            return torch.rand((), generator=random.generator).item()

        with durable.durable(tmp_path / "o", "a", every=0):
            return list(durable.each("draws", range(6), draw, random))

    whole = job(None)
    with pytest.raises(KeyboardInterrupt):
        job(3)
    assert job(None) == whole


def test_work_with_files_of_its_own_is_done_once(tmp_path: Path) -> None:
    made = []

    def job(stop: str | None) -> None:
        with durable.durable(tmp_path / "o", "a", every=0), durable.workspace(tmp_path / "o") as folder:
            for name in "ab":

                def work(name: str = name) -> None:
                    assert not (folder / f"{name}1").exists(), "half of the files is none"
                    (folder / f"{name}1").touch()
                    if name == stop:
                        raise KeyboardInterrupt
                    (folder / f"{name}2").touch()
                    made.append(name)

                durable.once(name, [folder / f"{name}1", folder / f"{name}2"], work)

    with pytest.raises(KeyboardInterrupt):
        job("b")
    job(None)
    assert made == ["a", "b"] and list(tmp_path.iterdir()) == []


# What is in a file.


def contents() -> dict:
    generator = torch.Generator().manual_seed(0)
    return {
        "nothing": None, "flag": True, "count": 7, "number": 0.1, "odd": [float("inf"), -0.0], "text": "späť",
        ("kernel", "decay"): (torch.randn(2, 3, 4, generator=generator), torch.zeros(0), torch.tensor(3)),
        None: torch.randn(3, 4, 5, generator=generator).movedim(2, 0),
        3: [np.arange(4, dtype=np.int16), np.array(["a", "bc"]), np.array(["x"], dtype=object), np.float32(0.5)],
        "set": xr.Dataset({"a": (("x", "y"), np.ones((2, 3), np.float32), {"unit": "s"})}, {"x": ["p", "q"]}, {"n": 1}),
    }  # fmt: skip


def test_values_come_back_bit_by_bit(tmp_path: Path) -> None:
    given = contents()
    write_piece(tmp_path / "a.npz", given)
    back = read_piece(tmp_path / "a.npz")
    assert list(back) == list(given) and [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    for name in ("nothing", "flag", "count", "number", "odd", "text"):
        assert back[name] == given[name] and type(back[name]) is type(given[name])
    for ours, theirs in zip(
        (*back["kernel", "decay"], back[None]), (*given["kernel", "decay"], given[None]), strict=True
    ):
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype
        assert ours.stride() == theirs.stride() or not ours.numel()
    for ours, theirs in zip(back[3], given[3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert back["set"].identical(given["set"]) and back["set"].a.dtype == np.float32


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    """Of the archive's own bookkeeping some bits mean nothing, such as the time of writing."""
    path = tmp_path / "a.npz"
    write_piece(path, {"a": torch.arange(3.0), "b": 7})
    whole, silent = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            back = read_piece(path)
        except StoreError:
            continue
        silent += 1
        assert back["b"] == 7 and torch.equal(back["a"], torch.arange(3.0)), place
    assert silent < len(whole) / 6


@pytest.mark.parametrize("content", [{1, 2}, np.array([object()]), {"a": lambda: 0}])
def test_other_things_are_not_kept(tmp_path: Path, content: object) -> None:
    with pytest.raises(StoreError, match="Unfinished work cannot be kept"):
        write_piece(tmp_path / "a.npz", content)


# Whose state it is.


def test_an_identity_follows_everything_that_an_output_depends_on(tmp_path: Path) -> None:
    store, folder, file = tmp_path / "s.zarr", tmp_path / "folder", tmp_path / "f.json"
    for each in (store, folder / "inner"):
        each.mkdir(parents=True)
    (store / "manifest.json").write_text("1")
    (folder / "inner" / "weights").write_text("1")
    file.write_text("1")

    def now(config: str = "{}") -> str:
        return identity([store, folder, file], config=config)

    seen = [now(), now('{"a":1}')]
    assert now() == seen[0]
    for path in (store / "manifest.json", folder / "inner" / "weights", file):
        path.write_text("22")
        seen.append(now())
    (store / ".snakemake_timestamp").touch()
    assert now() == seen[-1], "what a store does not list is not in it"
    assert len(set(seen)) == 5
