#!/bin/sh
# Debian's Slurm, where it is missing and can be installed. The tests say what is missing where it cannot.
set -eu
for program in munged slurmctld slurmd sbatch; do
    command -v "$program" > /dev/null || missing="${missing:-} $program"
done
if [ -z "${missing:-}" ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "Not found:$missing. Installing them needs root and apt-get: the tests on a cluster will say that they are skipped." >&2
    exit 0
fi
# The packages' own services find no configuration, and do not start; munge may, on a socket that the tests do not use.
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet --quiet
apt-get install --quiet --quiet --yes --no-install-recommends munge slurmctld slurmd slurm-client > /dev/null
