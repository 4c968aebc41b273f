"""A Slurm of one node on this machine: written, started and stopped by the tests, on loopback addresses alone.

Steps inside of a job read the system-wide configuration and no other, so this writes one. It refuses where there is one that it
did not write, and removes its own when it stops. All else (key, sockets, state, logs, two devices that pass for GPUs) is in one
folder below /run. The three daemons run in the foreground as children of the tests, and are told to end with them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.cluster.site import CONFIGURATION, DEVICES, FOLDER, GPUS, MARK, NODE, SYSTEM, NoCluster


def wait_until(true: Callable[[], object], what: str, *, seconds: float, state: Callable[[], str]) -> None:
    """Return as soon as `true()` is; after so many seconds raise TimeoutError, which shows `state()`."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:g} s still waiting for {what}\n{state()}")
        time.sleep(0.5)


def call(*command: str, check: bool = True) -> str:
    """What a command of Slurm prints, within a minute."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if check and done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command)} ended with status {done.returncode}: {done.stderr or done.stdout}"
        )
    return done.stdout.strip()


@dataclass
class Job:
    """A job as squeue shows it: its number, state, and Snakemake's comment (rule and wildcards)."""

    number: str
    state: str
    comment: str


@dataclass
class Slurm:
    """A controller and a node; `start` returns when the node is idle, `stop` ends what was started, by process id."""

    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self) -> None:
        """Write the configuration and start the three daemons."""
        shutil.rmtree(FOLDER, ignore_errors=True)
        for folder in (FOLDER, FOLDER / "state", FOLDER / "spool"):
            folder.mkdir(mode=0o755)
        for number in range(GPUS):
            os.mknod(
                FOLDER / f"gpu{number}", 0o20666, os.makedev(1, 3)
            )  # the null device, under another name
        key = FOLDER / "munge.key"
        key.touch(mode=0o400)
        key.write_bytes(os.urandom(128))
        values = {
            "folder": FOLDER,
            "host": socket.gethostname().split(".")[0],
            "node": NODE,
            "gpus": GPUS,
            "last": GPUS - 1,
            "control_port": _free_port(),
            "node_port": _free_port(),
        }
        SYSTEM.mkdir(exist_ok=True)
        (SYSTEM / "gres.conf").write_text(MARK + DEVICES.format(**values))
        (SYSTEM / "slurm.conf").write_text(MARK + CONFIGURATION.format(**values))
        munge = [f"--{name}-file={FOLDER}/munged.{name}" for name in ("pid", "log", "seed")]
        self._launch("munged", "--foreground", f"--key-file={key}", f"--socket={FOLDER}/munge.socket", *munge)
        self.wait((FOLDER / "munge.socket").exists, "munged")
        self._launch("slurmctld", "-D", "-c")
        self._launch("slurmd", "-D", "-c", "-N", NODE)
        self.wait(lambda: "idle" in self.node_state(), "an idle node")

    def stop(self) -> None:
        """Cancel all jobs, end the daemons and remove the configuration."""
        try:
            if "slurmd" in self.daemons:
                self.cancel_all()
        finally:
            for daemon in reversed(self.daemons.values()):
                daemon.terminate()
            for daemon in reversed(self.daemons.values()):
                try:
                    daemon.wait(20)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()
            self.daemons.clear()
            for name in ("slurm.conf", "gres.conf"):
                (SYSTEM / name).unlink(missing_ok=True)
            shutil.rmtree(FOLDER, ignore_errors=True)

    def cancel_all(self) -> None:
        """Cancel what is left, and have the node serve again."""
        if self.jobs() or "idle" not in self.node_state():
            call("scancel", "--user=root", check=False)
            call("scontrol", "update", f"NodeName={NODE}", "State=RESUME", check=False)
            self.wait(lambda: not self.jobs() and "idle" in self.node_state(), "the last jobs to end")

    def node_state(self) -> str:
        """The node's state: idle, mixed, allocated, down, drained, …"""
        return call("sinfo", "--noheader", "--format=%T", check=False)

    def jobs(self, *states: str) -> list[Job]:
        """The jobs that are in these states; without any, those that have not ended."""
        wanted = [f"--states={','.join(states)}"] if states else []
        lines = call("squeue", "--noheader", "--format=%i|%T|%k", *wanted, check=False).splitlines()
        return [Job(*line.split("|", 2)) for line in lines if line.count("|") >= 2]

    def running(self, rule: str) -> Job:
        """The first job of a rule that runs, as soon as there is one."""
        found: list[Job] = []

        def look() -> bool:
            found[:] = [job for job in self.jobs("RUNNING") if f"rule_{rule}" in job.comment]
            return bool(found)

        self.wait(look, f"a running job of {rule}")
        return found[0]

    def start_again(self, number: str) -> None:
        """Have a job that was put back into the queue start now; Slurm holds it for two minutes, which no test need wait for."""
        self.wait(
            lambda: number in [job.number for job in self.jobs("PENDING")], "the job to be in the queue again"
        )
        call("scontrol", "update", f"JobId={number}", "StartTime=now")

    def state(self) -> str:
        """Queue, node and the ends of the logs, for messages of failed tests."""
        parts = [
            "squeue:\n" + call("squeue", "--states=all", "--format=%i %T %r %M %m %k", check=False),
            "node:\n" + call("scontrol", "show", "node", check=False),
        ]
        for path in sorted(FOLDER.glob("*.log")):
            parts.append(f"{path.name}:\n" + "\n".join(path.read_text(errors="replace").splitlines()[-25:]))
        return "\n\n".join(parts)

    def wait(self, true: Callable[[], object], what: str, *, seconds: float = 300) -> None:
        """Return as soon as `true()` is; a daemon that ended, or the time, stops it with the state of all."""

        def met() -> object:
            for name, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    raise NoCluster(f"{name} ended with status {daemon.returncode}\n{self.state()}")
            return true()

        wait_until(met, what, seconds=seconds, state=self.state)

    def _launch(self, program: str, *arguments: str) -> None:
        """A daemon in the foreground that is told to end when the tests do, however they end."""
        with (FOLDER / f"{program}.log").open("wb") as log:
            self.daemons[program] = subprocess.Popen(
                ["setpriv", f"--pdeathsig={signal.Signals.SIGTERM.name}", program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
