"""Slices and digests: what makes a stage run again."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from explaind.config import compose, digest, slice_config, slice_json, source_digest
from explaind.config.declarations import stages
from explaind.config.graph import settings
from explaind.errors import ConfigError


def test_slice_is_canonical_and_nested() -> None:
    config = {"b": {"y": 1.5, "x": [1]}, "a": 2, "c": {"z": None, "w": 3}}
    assert slice_json(config, "c.z", "b") == '{"b":{"x":[1],"y":1.5},"c":{"z":null}}'
    assert slice_json(config) == '{"a":2,"b":{"x":[1],"y":1.5},"c":{"w":3,"z":null}}'


def test_slice_leaves_out_what_it_is_told_to() -> None:
    config = {"b": {"y": 1, "x": {"u": 1, "v": 2}}, "a": 2}
    assert slice_config(config, "b", without=("b.x.u", "b.z", "a")) == {"b": {"y": 1, "x": {"v": 2}}}
    assert config["b"]["x"] == {"u": 1, "v": 2}, "the configuration itself stays"


@pytest.mark.parametrize("key", ["d", "b.q", "a.q"])
def test_slice_of_a_missing_key_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="has no key"):
        slice_json({"a": 2, "b": {"y": 1}}, key)


def test_training_does_not_depend_on_the_list_of_seeds() -> None:
    one, two = (compose("grokking", "smoke", f"train.seeds={seeds}") for seeds in ("[0]", "[0,1]"))
    assert settings(one, stages()["train"]) == settings(two, stages()["train"])
    assert settings(one, stages()["select"]) != settings(two, stages()["select"])


def test_a_baseline_depends_on_its_own_test_count_only() -> None:
    one, two = (
        compose("grokking", "smoke", f"study.quadrature.tests={tests}") for tests in ("[30,10]", "[30,9]")
    )
    assert settings(one, stages()["quadrature"], nodes=2) == settings(two, stages()["quadrature"], nodes=2)
    assert settings(one, stages()["quadrature"], nodes=6) != settings(two, stages()["quadrature"], nodes=6)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write files of a package called explaind; each writing forgets earlier digests."""
    monkeypatch.setattr(digest, "PACKAGE", tmp_path / "explaind")

    def write(name: str, text: str) -> None:
        path = tmp_path / "explaind" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        digest._read.cache_clear()
        source_digest.cache_clear()

    yield write
    digest._read.cache_clear()
    source_digest.cache_clear()


def test_digest_follows_imports_and_ignores_words(package: Callable[[str, str], None]) -> None:
    package("__init__.py", "")
    package("stage.py", "from explaind.inner import f\n\ndef run():\n    'Doc.'\n    return f()\n")
    package("inner.py", "def f():\n    from . import deep\n    return deep.g()\n")
    package("deep.py", "def g():\n    return 1\n")
    package("other.py", "x = 1\n")
    before = source_digest("explaind.stage")
    package(
        "stage.py", "from explaind.inner import f\n\ndef run():\n    'Other words.'\n    return f()  # why\n"
    )
    package("other.py", "x = 2\n")
    assert source_digest("explaind.stage") == before
    package("deep.py", "def g():\n    return 2\n")
    assert source_digest("explaind.stage") != before


def test_digest_ignores_messages_and_covers_packages(package: Callable[[str, str], None]) -> None:
    package("errors.py", "x = 1\n")
    package("parts/__init__.py", "")
    package("parts/one.py", "import explaind.errors\n")
    package("parts/deep/two.py", "y = 1\n")
    before = source_digest("explaind.parts.*")
    package("errors.py", "x = 2\n")
    assert source_digest("explaind.parts.*") == before
    package("parts/deep/two.py", "y = 2\n")
    assert source_digest("explaind.parts.*") != before


def test_digest_refuses_what_it_cannot_read(package: Callable[[str, str], None]) -> None:
    with pytest.raises(ConfigError, match="no module"):
        source_digest("explaind.missing")
    with pytest.raises(ConfigError, match="no package"):
        source_digest("explaind.missing.*")
    package("broken.py", "def f(:\n")
    with pytest.raises(ConfigError, match="not valid Python"):
        source_digest("explaind.broken")


def test_digest_follows_an_experiment_that_is_built_by_name(package: Callable[[str, str], None]) -> None:
    package("__init__.py", "")
    package("stage.py", "from explaind.experiments import load\n\nSTAGE = Stage(memory=1)\n")
    package("plain.py", "from explaind.checkpoints import options\n")
    package("experiments/__init__.py", "def load():\n    pass\n")
    package("experiments/one/__init__.py", "")
    package("experiments/one/build.py", "y = 1\n")
    package("experiments/one/options.py", "z = 'words'\n")
    package("experiments/two/__init__.py", "")
    package("checkpoints/__init__.py", "")
    package("checkpoints/options.py", "lr = 1\n")

    def digests() -> list[str]:
        return [
            source_digest(m, experiment=e)
            for m in ("explaind.stage", "explaind.plain")
            for e in ("one", "two")
        ]

    before = digests()
    package("experiments/one/build.py", "y = 2\n")
    assert [a == b for a, b in zip(before, digests(), strict=True)] == [False, True, True, True]
    package("experiments/one/build.py", "y = 1\n")
    package("experiments/one/options.py", "z = 'other words'\n")
    package("stage.py", "from explaind.experiments import load\n\nSTAGE = Stage(memory=2)\n")
    assert digests() == before, "what an option means, or a job asks for, changes no number"
    package("checkpoints/options.py", "lr = 2\n")
    assert digests()[2] != before[2], "options of an optimizer are code"
