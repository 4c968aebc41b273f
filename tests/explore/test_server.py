"""What the page's server answers, and what it does not."""

from __future__ import annotations

import csv
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from explaind.cli import main
from explaind.errors import QueryError
from explaind.experiments.runs import open_run
from explaind.explore.sources import discover
from explaind.explore.state import State
from explaind.store import read_dataset


def get(address: str, headers: dict[str, str] | None = None, method: str = "GET") -> tuple[int, bytes]:
    request = urllib.request.Request(address, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def view(address: str, path: str) -> Any:
    status, body = get(address + path)
    assert status == 200, body
    return json.loads(body)


def test_only_loopback_and_only_with_the_token(address: str) -> None:
    parts = urlsplit(address)
    assert parts.hostname == "127.0.0.1"
    bare = f"http://{parts.netloc}/"
    assert get(bare)[0] == get(f"{bare}{'a' * 32}/")[0] == get(f"{bare}api/sources")[0] == 403
    assert get(address, {"Host": "example.org"})[0] == 403, "a name that was pointed at this machine"
    assert get(address, {"Origin": "http://example.org"})[0] == 403
    assert get(address)[0] == 200


@pytest.mark.parametrize(
    "path",
    [
        "static/../requests.py",
        "static/%2e%2e/requests.py",
        "../../etc/passwd",
        "static/index.html",
        "api/nothing",
    ],
)
def test_files_outside_of_the_page_are_not_there(address: str, path: str) -> None:
    assert get(address + path)[0] in (403, 404)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("run=../grokking", "no such run"),
        ("run=grokking&tests=x", "not understood"),
        ("run=grokking&tests=-1", "not usable"),
        ("run=grokking&term=noise", "does not exist"),
    ],
)
def test_an_address_that_means_nothing_is_an_answer_in_words(address: str, query: str, said: str) -> None:
    status, body = get(f"{address}api/total?{query}")
    assert status == 400 and said in json.loads(body)["error"]


def test_nothing_is_written_to_the_opened_folder(address: str, results: Path) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in (results / "grokking").rglob("*") if p.is_file())
    for name in ("predictions", "timeline", "total", "samples", "certificate", "kernel"):
        view(address, f"api/{name}?run=grokking&tests=1,2")
    after = sorted((p, p.stat().st_mtime_ns) for p in (results / "grokking").rglob("*") if p.is_file())
    replay = "trajectory.zarr"  # where checks of updates are noted is the recording's own business
    assert [one for one in after if replay not in str(one[0])] == [
        one for one in before if replay not in str(one[0])
    ]


def test_views_hold_what_the_stores_hold(address: str, results: Path) -> None:
    stored = read_dataset(results / "grokking" / "influence.zarr", kind="influence")
    shown = view(address, "api/predictions?run=grokking")
    assert len(shown["rows"]) == stored.sizes["test"] and shown["outputs"] == stored.sizes["output"]
    final = stored["final"].transpose("test", "output").values
    labels = [row[1] for row in shown["rows"]]
    np.testing.assert_allclose(
        [row[4] for row in shown["rows"]], final[np.arange(len(final)), labels], rtol=1e-4
    )

    total = view(address, "api/total?run=grokking&tests=2,5")
    parts = dict(total["rows"])
    picked = [stored["kernel"].sel(test=t, output=labels[t]).sum() for t in (2, 5)]
    assert parts["kernel"] == pytest.approx(float(sum(picked)), rel=1e-6)
    assert sum(v for k, v in parts.items() if k != "final") == pytest.approx(parts["final"], abs=1e-5)

    _, text = get(f"{address}csv/timeline?run=grokking")
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    importance = stored["importance_kernel"].isel(layer=0)
    np.testing.assert_allclose(
        [float(row[str(importance.layer.values)]) for row in rows], importance, rtol=1e-4
    )

    kernel = read_dataset(results / "grokking" / "windows" / "late.zarr", kind="window")
    one = view(address, "api/kernel?run=grokking&window=late&rows=3,5&columns=10,14")
    _, experiment = open_run(results / "grokking" / "trajectory.zarr")
    tests = np.argsort(experiment.test[1][: kernel.sizes["test"]].numpy(), kind="stable")
    train = np.argsort(experiment.train[1].numpy(), kind="stable")
    values = kernel["kernel"].sel(layer=one["layer"]).transpose("test", "train").values[np.ix_(tests, train)]
    assert [row[0] for row in one["rows"]] == tests[3:5].tolist() and one["spans"] == [[3, 5], [10, 14]]
    np.testing.assert_allclose([row[1:] for row in one["rows"]], values[3:5, 10:14], rtol=1e-3, atol=1e-6)


def test_samples_are_shown_as_sums(address: str) -> None:
    texts = [one["text"] for one in view(address, "api/samples-of/train?run=grokking&positions=0,1,2")]
    assert all(" + " in text and max(map(int, text.split(" + "))) < 13 for text in texts)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path, results: Path) -> None:
    (tmp_path / "opened").mkdir()
    (tmp_path / "opened" / "stolen").symlink_to(results / "grokking")
    with pytest.raises(QueryError, match="nothing to explore"):
        discover(tmp_path / "opened", lambda recording: None)


def test_nothing_to_explore_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", str(tmp_path), "--no-browser"]) == 2
    assert "nothing to explore" in capsys.readouterr().err


def test_a_state_is_what_the_address_says() -> None:
    state = State.read({"run": "a", "tests": "5,2,5", "output": "3", "rows": "1,4", "cumulative": "0"})
    assert (state.tests, state.output, state.rows, state.cumulative) == ((2, 5), "3", (1, 4), False)
