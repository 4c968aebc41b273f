"""A folder of small results, and a browser that looks at them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from explaind.config import compose
from explaind.stages import accumulate, certify, influence, phases, record, window
from explaind.store.files import write_json

UPDATES = 12
REQUIRED = "EXPLAIND_REQUIRE_BROWSER"
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--window-size=1280,800",
)  # fmt: skip
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`grokking/` with influences, a window's kernel and a certificate; `damaged/` and `older/`, which cannot be read."""
    root = tmp_path_factory.mktemp("explore") / "results"
    at = root / "grokking"
    at.mkdir(parents=True)
    config = compose(
        "grokking",
        "smoke",
        [
            f"train.max_steps={UPDATES}",
            "train.stop_accuracy=null",
            "train.seeds=[3]",
            "study.windows.width=3",
        ],
    )
    write_json({"seed": 3}, at / "selection.json")
    run = {"trajectory": at / "trajectory.zarr", "certificate": at / "certificate.zarr"}
    files = {
        "trajectory": run["trajectory"],
        "summary": at / "trajectory.json",
        "metrics": at / "metrics.csv",
    }
    record.write(config, selection=at / "selection.json", **files)
    certify.write(config, trajectory=run["trajectory"], output=run["certificate"])
    phases.write(config, summary=at / "trajectory.json", output=at / "phases.json")
    influence.write(config, **run, start=0, stop=UPDATES, output=at / "part.zarr")
    accumulate.write(parts=[at / "part.zarr"], output=at / "influence.zarr")
    window.write(config, **run, phases=at / "phases.json", window="late", output=at / "windows" / "late.zarr")
    seed = at / "runs" / "addition" / "4"  # another run, of which results alone are there
    shutil.copytree(at / "influence.zarr", seed / "influence.zarr")
    write_json({"steps": 24, "memorization_step": 8, "generalization_step": 20}, seed / "phases.json")
    shutil.copytree(at / "influence.zarr", root / "damaged" / "influence.zarr")
    manifest = root / "damaged" / "influence.zarr" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"forward"', '"backward"'))
    shutil.copytree(at / "influence.zarr", root / "older" / "influence.zarr")
    manifest = root / "older" / "influence.zarr" / "manifest.json"
    body = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**body, "schema_version": 1}))
    return root


@pytest.fixture(scope="module")
def address(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the page, as `explaind explore` prints it."""
    cache = tmp_path_factory.mktemp("cache")
    command = [sys.executable, "-c", "from explaind.cli import main; main()", "explore", str(results)]
    with subprocess.Popen(
        [*command, "--no-browser", "--cache", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                yield found[0]
                break
        else:
            pytest.fail(f"no address was printed: {said}")
        process.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a screen."""
    driver = shutil.which("chromedriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if driver is None or chromium is None:
        said = "there is no browser: tests/explore/install.sh installs one"
        if os.environ.get(REQUIRED):
            pytest.fail(said)
        pytest.skip(said)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield page
    page.quit()


def until(page: Any, condition: str, seconds: float = 60) -> None:
    """Wait until a JavaScript expression is true, before it takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if page.execute_script(f"return !!({condition})"):
            return
        time.sleep(0.05)
    notes = page.execute_script("return document.getElementById('notes')?.textContent")
    raise AssertionError(f"{condition} did not come true; the page says {notes!r}; {page.get_log('browser')}")
