"""The page in a real browser: choose a prediction, choose a window, read what adds up, export, and what cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import explaind
from explaind.experiments.runs import open_run
from explaind.explore.questions import target_of
from tests.explore.conftest import SCREENSHOTS, UPDATES, until

READY = "document.body?.dataset.ready"
TEST = 7
SEED = "grokking/runs/addition/4"


@pytest.fixture(scope="module")
def truth(results: Path) -> Any:
    """The timeline of one prediction, computed without the page."""
    run, experiment = open_run(results / "grokking" / "trajectory.zarr")
    return explaind.influence(
        run, experiment.model, experiment.loss, train=experiment.training,
        test=tuple(part[[TEST]] for part in experiment.test), keep=("step", "layer"), target=target_of("true"),
        groups=experiment.groups,
    )  # fmt: skip


def bar(page: Any) -> dict[str, float]:
    """The numbers of the bar that adds up, as they stand on the page."""
    read = "Object.fromEntries([...document.querySelectorAll('#total dd')].map(d => [d.dataset.part, Number(d.dataset.value)]))"
    return page.execute_script(f"return {read}")


def screenshot(page: Any, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.save_screenshot(str(SCREENSHOTS / f"{name}.png"))


def compute(page: Any, kind: str, done: str) -> None:
    page.execute_script(f"document.querySelector('#{kind} .ask').click()")
    until(page, f"!document.getElementById('go').hidden || ({done})")
    page.execute_script("if (!document.getElementById('go').hidden) document.getElementById('go').click()")
    until(page, done)


def test_a_prediction_is_followed_through_training(
    browser: Any, address: str, results: Path, truth: Any
) -> None:
    browser.get(address)
    until(browser, READY)
    notes = browser.execute_script("return document.getElementById('notes').textContent")
    assert "damaged" in notes and "older" in notes and "schema version" in notes, (
        "what cannot be read is named"
    )
    assert browser.execute_script("return [...document.getElementById('run').options].map(o => o.value)") == [
        "grokking",
        SEED,
    ]

    # Choose a prediction by the keyboard; the stored influences say what it is made of.
    browser.execute_script(f"document.querySelector('tr[data-test=\"{TEST}\"]').focus()")
    from selenium.webdriver.common.keys import Keys

    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, "document.querySelectorAll('#total dd').length")
    shown = bar(browser)
    whole = {name: float(truth[name].sum()) for name in ("initial", "kernel", "regularization", "final")}
    for name, value in whole.items():
        assert shown[name] == pytest.approx(value, abs=2e-2), name  # stored within a tolerance of its own
    assert sum(v for k, v in shown.items() if k != "final") == pytest.approx(shown["final"], abs=1e-4)

    # By update; then a window.
    compute(browser, "timeline", "views.timeline?.words.startsWith('What every update')")
    drawn = browser.execute_script("return views.timeline.rows")
    np.testing.assert_allclose(
        [row[1:-1] for row in drawn],
        truth["kernel"].cumsum("step").transpose("step", "layer"),
        rtol=1e-3,
        atol=1e-4,
    )
    browser.execute_script(
        "const f = document.querySelector('#timeline .figure'); f.emit('plotly_selected', {range: {x: [3.2, 7.9]}})"
    )
    until(browser, "views.total?.words.startsWith('Updates 4 to 7:')")
    shown, inside = bar(browser), truth.sel(step=slice(4, 7))
    assert shown["kernel"] == pytest.approx(float(inside["kernel"].sum()), abs=1e-4)
    assert shown["regularization"] == pytest.approx(float(inside["regularization"].sum()), abs=1e-4)
    assert sum(v for k, v in shown.items() if k != "final") == pytest.approx(shown["final"], abs=1e-6)

    # Because of which training samples: all of them add up to the window's kernel.
    compute(browser, "samples", "document.querySelectorAll('.sample').length")
    cards = browser.execute_script(
        "return [...document.querySelectorAll('.sample')].map(c => Number(c.dataset.score))"
    )
    rest = browser.execute_script("return views.samples.rest")
    assert sum(cards) + rest == pytest.approx(shown["kernel"], abs=2e-3)
    screenshot(browser, "prediction")
    errors = [one for one in browser.get_log("browser") if one["level"] == "SEVERE"]
    assert not errors


def test_a_link_shows_the_same_again(browser: Any, address: str) -> None:
    browser.get("about:blank")
    browser.get(f"{address}#run=grokking&tests={TEST}&start=4&stop=8")
    until(browser, READY)
    until(browser, "views.total?.words.startsWith('Updates 4 to 7:')")
    assert browser.execute_script("return document.querySelectorAll('.sample').length") > 0, (
        "answers are kept"
    )
    assert browser.execute_script(
        "return document.querySelector('tr[aria-selected=true]').dataset.test"
    ) == str(TEST)


def test_a_second_run_is_drawn_beside_it(browser: Any, address: str) -> None:
    browser.get("about:blank")
    browser.get(f"{address}#run=grokking")
    until(browser, READY)
    browser.execute_script(
        f"const o = document.getElementById('other'); o.value = '{SEED}'; o.dispatchEvent(new Event('change'))"
    )
    until(browser, f"views.timeline?.words.includes('Dotted: {SEED}')")
    names = "views.timeline.figure.data.map(t => t.name)"
    assert {f"{SEED}: all layers", "grokking: all layers"} <= set(browser.execute_script(f"return {names}"))


def test_a_kernel_is_looked_at_more_closely(browser: Any, address: str) -> None:
    browser.get("about:blank")
    browser.get(f"{address}#run=grokking")
    until(browser, READY)
    until(browser, "views.kernel?.figure && document.querySelector('#kernel .figure').on")
    browser.execute_script(
        "document.querySelector('#kernel .figure').emit('plotly_relayout', "
        "{'xaxis.range[0]': 5, 'xaxis.range[1]': 9.5, 'yaxis.range[0]': 8.5, 'yaxis.range[1]': 2})"
    )
    until(browser, "JSON.stringify(views.kernel.spans) === '[[2,10],[5,11]]'")
    browser.execute_script("document.getElementById('matrix').value = 'similarity'; "
                           "document.getElementById('matrix').dispatchEvent(new Event('change'))")  # fmt: skip
    until(browser, "views.kernel.words.startsWith('Similarity')")


def test_an_export_opens_without_the_server(browser: Any, address: str, tmp_path: Path) -> None:
    browser.get("about:blank")
    browser.get(f"{address}#run=grokking&tests={TEST}&start=4&stop=8")
    until(browser, READY)
    until(browser, "document.querySelectorAll('.sample').length")
    before, words = (
        bar(browser),
        browser.execute_script("return document.getElementById('selection').textContent"),
    )
    file = tmp_path / "exported.html"
    file.write_text(browser.execute_async_script("const done = arguments[0]; save().then(done)"))
    browser.get(f"file://{file}")
    until(browser, "document.querySelectorAll('#timeline .figure .main-svg').length")
    assert bar(browser) == before
    assert browser.execute_script("return document.getElementById('selection').textContent") == words
    assert f"updates 4 to 7 of {UPDATES}" in words
    assert not browser.execute_script(
        "return performance.getEntriesByType('resource').filter(e => e.name.startsWith('http')).length"
    )
    screenshot(browser, "export")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_the_page(browser: Any, address: str, dark: bool) -> None:
    scheme = "dark" if dark else "light"
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    for width, height in ((1280, 800), (1920, 1080)):
        browser.set_window_size(width, height)
        browser.get("about:blank")
        browser.get(f"{address}#run=grokking&tests={TEST}")
        until(browser, READY)
        until(browser, "views.kernel?.figure && views.timeline?.figure")
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        screenshot(browser, f"{scheme}-{width}")
