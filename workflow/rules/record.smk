# Choose the seed to explain by the stated rule, train it again with the recorder, and find its phases.
rule select:
    input:
        summaries=lambda wildcards: expand(
            f"{RESULTS}/{wildcards.experiment}/seeds/{{seed}}/summary.json",
            seed=CONFIGS[wildcards.experiment]["train"]["seeds"],
        ),
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
