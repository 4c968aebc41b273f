# What a request costs before any work: jobs, hours, memory, disk, wall time. Nothing of it runs.
from types import SimpleNamespace

from snakemake.logging import logger

from explaind.planning.jobs import Job
from explaind.planning.report import expectation


def planned_jobs():
    """Every job behind the figures and tables, with the files that it reads and writes."""
    jobs = {}
    for experiment, values in CONFIGS.items():
        for stage, declared in stages().items():
            if available(declared, values):
                for wildcards in jobs_of(stage, values):
                    job = stage_job(stage, experiment, wildcards)
                    jobs |= {path: job for path in job["outputs"]}
    for one in (*TABLES, *FIGURES):
        job = product_job(one)
        jobs |= {path: job for path in job["outputs"]}
    wanted, needed = [*FIGURE_FILES, *TABLE_FILES], {}
    while wanted:
        job = jobs.get(wanted.pop())
        if job and id(job) not in needed:
            needed[id(job)] = job
            wanted += job["inputs"]
    return list(needed.values())


def announce():
    """Say how long the jobs that are about to run here are expected to take; of a cluster nobody knows the queue."""
    if workflow.nodes is not None:
        return
    outputs = [str(path) for job in workflow.dag.needrun_jobs() for path in job.output]
    cores = workflow.cores or 1
    sentence, seconds = expectation([Job(**job) for job in planned_jobs()], CONFIGS, cores, outputs)
    if seconds:
        logger.info(sentence, extra={"ahead": {"seconds": seconds, "cores": cores}})


def stage_job(stage, experiment, wildcards):
    """One job of a stage."""
    made_by, values = getattr(rules, stage), {"experiment": experiment, **wildcards}
    named = SimpleNamespace(**values)
    inputs = []
    for item in made_by.input:
        found = item(named) if callable(item) else str(item).format(**values)
        inputs += [found] if isinstance(found, str) else found
    threads = threads_of(stage)
    return {
        "stage": stage,
        "experiment": experiment,
        "wildcards": wildcards,
        "inputs": [str(path) for path in inputs],
        "outputs": [str(path).format(**values) for path in made_by.output],
        "record": str(made_by.benchmark).format(**values) if made_by.rule.benchmark else None,
        "threads": threads if isinstance(threads, int) else threads(named),
        "gpu": CONFIGS[experiment]["execution"]["gpu"] if stages()[stage].gpu else 0,
        "memory": stages()[stage].memory,
    }


def product_job(one):
    """The job of a figure or table."""
    inputs = [files if isinstance(files, list) else [files] for files in inputs_of(one).values()]
    figure = one in FIGURES
    return {
        "stage": "figures and tables",
        "experiment": "",
        "wildcards": {},
        "inputs": [path for files in inputs for path in files],
        "outputs": (
            [f"{RESULTS}/figures/{one.file}.{suffix}" for suffix in ("pdf", "png")]
            if figure
            else [table_file(one, name) for name in one.files]
        ),
        "record": None,
        "threads": 1,
        "gpu": 0,
        "memory": one.product.memory,
    }


rule plan:
    params:
        jobs=lambda wildcards: json.dumps(planned_jobs()),
        configs=lambda wildcards: json.dumps(CONFIGS),
        table=f"{RESULTS}/plan.csv",
        cores=lambda wildcards: workflow.cores or 1,
    script:
        "../scripts/plan.py"
