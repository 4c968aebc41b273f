# Choose the seed to explain by the stated rule, train it again with the recorder, and find its phases.
def summaries(wildcards):
    """Every seed's run; none where there is no stopping rule to decide between them."""
    options = CONFIGS[wildcards.experiment]["train"]
    seeds = options["seeds"] if options["stop_accuracy"] is not None else []
    return [f"{RESULTS}/{wildcards.experiment}/seeds/{seed}/summary.json" for seed in seeds]


rule select:
    input:
        summaries=summaries,
    output:
        selection=f"{RESULTS}/{{experiment}}/selection.json",
    log:
        f"{LOGS}/{{experiment}}/select.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=5,
    params:
        config=stage_config("select"),
        source=stage_source("select"),
    script:
        "../scripts/select.py"


# An interrupted recording continues: it grows beside the output, and is renamed into place when complete.
rule record:
    input:
        selection=rules.select.output.selection,
        data=dataset,
    output:
        trajectory=directory(f"{RESULTS}/{{experiment}}/trajectory.zarr"),
        summary=f"{RESULTS}/{{experiment}}/trajectory.json",
        metrics=f"{RESULTS}/{{experiment}}/metrics.csv",
    log:
        f"{LOGS}/{{experiment}}/record.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/record.jsonl"
    threads: lambda wildcards: CONFIGS[wildcards.experiment]["train"]["threads"]
    resources:
        mem_mb=memory(2000),
        runtime=90,
        gpu=gpus,
    params:
        config=stage_config("record"),
        source=stage_source("record"),
    script:
        "../scripts/record.py"


rule phases:
    input:
        summary=rules.record.output.summary,
    output:
        phases=f"{RESULTS}/{{experiment}}/phases.json",
    log:
        f"{LOGS}/{{experiment}}/phases.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=5,
    params:
        config=stage_config("phases"),
        source=stage_source("phases"),
    script:
        "../scripts/phases.py"
