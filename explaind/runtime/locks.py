"""Locks that end with their process, however it ends: the operating system holds them, and a killed holder leaves none."""

from __future__ import annotations

import errno
import fcntl
import getpass
import os
import socket
from pathlib import Path
from typing import TextIO

from explaind.errors import StoreError

__all__ = ["hold_folder", "hold_log"]

HELD_BY_ANOTHER = (errno.EAGAIN, errno.EACCES)


def hold_log(log: TextIO) -> None:
    """Lock a job's log, opened for appending, until it is closed; what an earlier attempt wrote is removed.

    Raises:
        StoreError: another process, such as a job that outlived its workflow, writes it.
    """
    if not _hold(log):
        raise StoreError(
            f"Another process still does this job: it writes {log.name}.",
            remedy="wait until it has ended, and start again; jobs may outlive a workflow that was killed",
        )
    log.truncate(0)


def hold_folder(folder: Path) -> TextIO:
    """Lock a folder of results for this process; the file `.lock` in it says who holds it.

    Returns:
        the open file: the folder is locked until it is closed or the process ends.

    Raises:
        StoreError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = (folder / ".lock").open("a+")
    stream.seek(0)
    if not _hold(stream):
        holder = stream.read().strip()
        stream.close()
        raise StoreError(
            f"Another workflow writes its results to {folder.resolve()}.",
            expected="one workflow at a time for a folder of results",
            got=holder or "a holder that did not say who it is",
            remedy="wait until it has ended, or give this one a folder of its own: --config results=...",
        )
    stream.truncate(0)
    stream.write(
        f"process {os.getpid()} of {getpass.getuser()} on {socket.gethostname()}, started in {os.getcwd()}\n"
    )
    stream.flush()
    return stream


def _hold(stream: TextIO) -> bool:
    """Lock an open file until it is closed; False if another process holds it.

    A file system without locks (some network file systems are mounted so) locks nothing, and the answer is True.
    """
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD_BY_ANOTHER
    return True
