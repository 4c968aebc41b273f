"""What the plan counts, without Snakemake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from explaind.config import compose, compose_all
from explaind.config.declarations import stages
from explaind.config.graph import available, jobs_of
from explaind.planning.costs import costs_of, declared
from explaind.planning.jobs import Job, critical_path, left_to_do, read_record, wall_time
from explaind.planning.passes import PASSES, passes_of
from explaind.planning.report import comparison, expectation, in_words, plan_text


def job(name: str, *inputs: str, threads: int = 1, **more: Any) -> Job:
    return Job(**{
        "stage": name, "experiment": "", "wildcards": {}, "inputs": inputs, "outputs": [name], "record": None,
        "threads": threads, "gpu": 0, "memory": 100, **more,
    })  # fmt: skip


def timed(jobs: list[Job], *seconds: float) -> dict[int, float]:
    return {id(one): value for one, value in zip(jobs, seconds, strict=True)}


def test_left_is_what_lacks_outputs_and_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = [job("d", "c"), job("c", "a", "b"), job("a"), job("b", "outside")]
    assert [one.stage for one in left_to_do(jobs)] == ["a", "b", "c", "d"]
    for name in "acd":
        Path(name).touch()
    assert [one.stage for one in left_to_do(jobs)] == ["b", "c", "d"]
    Path("b").touch()
    assert left_to_do(jobs) == []
    assert "Nothing is left to do: all 4 jobs" in plan_text(jobs, {}, 2)


def test_cores_are_shared_and_the_longest_way_goes_first() -> None:
    jobs = [job("short"), job("long"), job("last", "long"), job("wide", threads=2)]
    seconds = timed(jobs, 3, 5, 4, 2)
    assert critical_path(jobs, seconds)[id(jobs[1])] == 9
    assert wall_time(jobs, seconds, 1) == 14
    assert wall_time(jobs, seconds, 2) == 11, "wide waits for two free cores, or goes first"
    assert wall_time(jobs, seconds, 100) == 9


def test_what_a_run_is_expected_to_take_counts_its_own_jobs(tmp_path: Path) -> None:
    """Also those whose outputs exist, but are to be made again; and not those that stay as they are."""
    measured = {
        name: record(tmp_path / f"{name}.jsonl", cpu_time=cost) for name, cost in (("a", 7200), ("b", 90))
    }
    jobs = [job("last", "a", "b"), job("a", record=measured["a"]), job("b", record=measured["b"])]
    sentence, seconds = expectation(jobs, {}, 2, ["b", "last"])
    assert seconds == {"b": 90.0, "last": declared("last", None, {})[0]}
    assert sentence.startswith(f"Expected to take {in_words(sum(seconds.values()))} on 2 cores")
    assert expectation(jobs, {}, 2, [])[1] == {}


def test_durations_in_words() -> None:
    assert [in_words(s) for s in (0.4, 59.6, 192, 6300)] == ["0 s", "1 min 00 s", "3 min 12 s", "1 h 45 min"]


def test_a_job_that_wants_more_cores_than_there_are_runs() -> None:
    jobs = [job("wide", threads=64), job("narrow")]
    assert wall_time(jobs, timed(jobs, 2, 1), 4) == 3


def record(path: Path, **values: object) -> str:
    path.write_text(json.dumps({"s": 9.0, "cpu_time": 4.0, "max_rss": 50.0} | values) + "\n")
    return str(path)


def test_records_are_read_in_cpu_seconds(tmp_path: Path) -> None:
    assert read_record(record(tmp_path / "a", max_rss="NA"))[0] == 4.0
    assert read_record(record(tmp_path / "a", cpu_time="NA"))[0] == 9.0, "too short to be measured"
    assert read_record(tmp_path / "missing") is None and read_record(None) is None


def test_records_come_before_rates(tmp_path: Path) -> None:
    config = compose("mnist", "smoke")
    parts = [
        job("influence", experiment="mnist", wildcards=wildcards, record=str(tmp_path / str(i)))
        for i, wildcards in enumerate(jobs_of("influence", config))
    ]
    before = costs_of(parts, {"mnist": config})
    assert {cost.source for cost in before.values()} == {"declared"} and {
        cost.memory for cost in before.values()
    } == {100}
    expected = declared("influence", config, parts[0].wildcards)[0]
    record(tmp_path / "0", cpu_time=3 * expected)
    first, second = costs_of(parts, {"mnist": config}).values()
    assert (first.source, second.source) == ("measured", "scaled")
    assert first.seconds == pytest.approx(3 * expected)
    assert second.seconds == pytest.approx(3 * before[id(parts[1])].seconds)
    assert first.memory == second.memory == 50
    (row,) = comparison(parts, {"mnist": config})
    assert row[:3] == ("mnist", "influence", "1") and row[5] == "3.00"


@pytest.mark.parametrize("scale", ["smoke", "default", "paper"])
def test_every_job_of_every_scale_has_a_cost(scale: str) -> None:
    overrides = ["checkpoints.revisions=[a,b]"] if scale == "paper" else []
    assert set(PASSES) <= set(stages())
    for config in compose_all(None, scale, overrides).values():
        for name in (name for name, stage in stages().items() if available(stage, config)):
            assert all(0 < declared(name, config, job)[0] < 1e9 for job in jobs_of(name, config)), name


def test_costs_grow_with_what_is_asked_for() -> None:
    def work(*overrides: str) -> float:
        config = compose("grokking", "default", overrides)
        return sum(passes_of("influence", config, job) for job in jobs_of("influence", config))

    plain = work()
    assert work("influence.tests=1000") == pytest.approx(plain / 2)
    assert work("train.max_steps=8000") == pytest.approx(2 * plain)
    for cut in (
        ["execution.part_steps=70"],
        ["execution.parts=6"],
        ["influence.block=100", "execution.part_tests=300"],
    ):
        assert work(*cut) == pytest.approx(plain), "a cut changes no work"


def test_a_wider_model_costs_more() -> None:
    narrow, wide = (
        declared("record", compose("cifar2", "default", [f"model.width={width}"]), {})[0]
        for width in (16, 64)
    )
    assert 14 < wide / narrow < 16.1
