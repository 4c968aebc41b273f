# From seeds to one recorded run.
# Train every seed of the list, without recording: one job each, side by side.
rule train:
    input:
        data=dataset,
    output:
        metrics=f"{RESULTS}/{{experiment}}/seeds/{{seed}}/metrics.csv",
        summary=f"{RESULTS}/{{experiment}}/seeds/{{seed}}/summary.json",
    log:
        f"{LOGS}/{{experiment}}/train/{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/train/{{seed}}.jsonl"
    priority: priority_of("train")
    threads: threads_of("train")
    resources:
        **asks("train"),
    params:
        **depends("train"),
    script:
        "../scripts/stage.py"


def summaries(wildcards):
    """Every seed's run; none where there is no stopping rule to decide between them."""
    experiment = wildcards.experiment
    decides = CONFIGS[experiment]["train"]["stop_accuracy"] is not None
    return files_of("train", experiment, output="summary") if decides else []


# Choose the seed to explain by the stated rule.
rule select:
    input:
        summaries=summaries,
    output:
        output=f"{RESULTS}/{{experiment}}/selection.json",
    log:
        f"{LOGS}/{{experiment}}/select.log",
    priority: priority_of("select")
    threads: threads_of("select")
    resources:
        **asks("select"),
    params:
        **depends("select"),
    script:
        "../scripts/stage.py"


# Train it again with the recorder. An interrupted recording grows beside the output, and is renamed into place when complete.
rule record:
    input:
        selection=rules.select.output.output,
        data=dataset,
    output:
        trajectory=directory(f"{RESULTS}/{{experiment}}/trajectory.zarr"),
        summary=f"{RESULTS}/{{experiment}}/trajectory.json",
        metrics=f"{RESULTS}/{{experiment}}/metrics.csv",
    log:
        f"{LOGS}/{{experiment}}/record.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/record.jsonl"
    priority: priority_of("record")
    threads: threads_of("record")
    resources:
        **asks("record"),
    params:
        **depends("record"),
    script:
        "../scripts/stage.py"


# Find the steps at which it memorised and generalised.
rule phases:
    input:
        summary=rules.record.output.summary,
    output:
        output=f"{RESULTS}/{{experiment}}/phases.json",
    log:
        f"{LOGS}/{{experiment}}/phases.log",
    priority: priority_of("phases")
    threads: threads_of("phases")
    resources:
        **asks("phases"),
    params:
        **depends("phases"),
    script:
        "../scripts/stage.py"
