"""Whether and how the tests' Slurm is set up: what must be there, what must not, and its configuration."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "setpriv")
SYSTEM = Path("/etc/slurm")
#: Where a machine that belongs to a cluster may have its configuration.
FOREIGN = (SYSTEM, Path("/etc/slurm-llnl"), Path("/run/slurm/conf"))
FOLDER = Path("/run/explaind-test-cluster")
MARK = "# Written by ExPLAIND's tests (tests/cluster), which remove it when they end.\n"
NODE = "loopback"
GPUS = 2

CONFIGURATION = """\
ClusterName=explaind-tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
# Nothing listens on an address that other machines reach.
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
# A node that is down stays down until it is told otherwise.
ReturnToService=0
SlurmdTimeout=60
# squeue --states=all shows ended jobs for so long; Snakemake asks it for the state of its jobs.
MinJobAge=3600
KillWait=2
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
# A job that uses more memory than it asked for is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=12000 Gres=gpu:{gpus}
PartitionName=tests Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""
# CUDA_VISIBLE_DEVICES is set for devices that exist and carry this flag, and for no others.
DEVICES = "Name=gpu File={folder}/gpu[0-{last}] Flags=nvidia_gpu_env\n"


class NoCluster(Exception):
    """Slurm cannot be started here; its text says why, and what to do."""


def obstacle() -> str | None:
    """Why no Slurm can be started here; None where nothing is in the way."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        packages = "munge slurmctld slurmd slurm-client"
        return (
            f"{', '.join(missing)} not found: apt-get install {packages} (make test-cluster does so for root)"
        )
    if os.geteuid() != 0:
        return "Slurm's daemons start jobs as root, and these tests run as another user: run them as root"
    if "SLURM_CONF" in os.environ:
        return f"SLURM_CONF names a cluster ({os.environ['SLURM_CONF']}): unset it, on a machine that is part of none"
    for path in (folder / name for folder in FOREIGN for name in ("slurm.conf", "gres.conf", "cgroup.conf")):
        if path.exists() and not path.read_text(errors="replace").startswith(MARK):
            return f"{path} was not written by these tests: use a machine that belongs to no cluster"
    return None
