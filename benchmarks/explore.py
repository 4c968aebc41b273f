"""The page of `explaind explore` in a browser: how long until it is there, and until a chosen prediction is shown."""

from __future__ import annotations

import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.setting import show

READY = "return !!document.body?.dataset.ready && !!views.timeline"


def run(folder: Path, results: Path = Path("results"), *, rounds: int = 9) -> None:
    """First view of the results that are here, and selections of predictions whose decomposition is stored."""
    if not (results / "grokking" / "influence.zarr").exists() or shutil.which("chromedriver") is None:
        print("explore: needs results/grokking (make figures) and a browser (chromium, chromium-driver).")
        return
    from selenium import webdriver

    from tests.explore.conftest import OPTIONS

    options = webdriver.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    command = [
        sys.executable,
        "-c",
        "from explaind.cli import main; main()",
        "explore",
        str(results),
        "--no-browser",
    ]
    begin = time.perf_counter()
    with subprocess.Popen([*command, "--cache", str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
        started = time.perf_counter() - begin
        page = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
        )
        try:
            views = []
            for _ in range(3):  # the first one reads the stores
                page.get("about:blank")
                begin = time.perf_counter()
                page.get(f"{address}#run=grokking")
                while not page.execute_script(READY):
                    time.sleep(0.01)
                views.append(time.perf_counter() - begin)
            chosen = [_selected(page, test) for test in range(rounds)]
        finally:
            page.quit()
            process.terminate()
    rows = [
        ("the server is up", started, ""),
        ("first view, stores unread", views[0], "2 s"),
        ("first view, again", min(views[1:]), "2 s"),
        ("a chosen prediction", statistics.median(chosen), "0.2 s"),
    ]
    show("the page, seconds in the browser", ("what", "s", "at most"), rows)


def _selected(page: object, test: int) -> float:
    """Seconds from the key to the numbers on the page, by the page's own clock."""
    script = """
      const done = arguments[0], list = document.querySelector('#total dl'), begin = performance.now();
      new MutationObserver((_, self) => { if (list.children.length) { self.disconnect(); done(performance.now() - begin); } })
        .observe(list, { childList: true });
      choose(%d, false);
    """
    return page.execute_async_script(script % test) / 1e3  # type: ignore[attr-defined]
