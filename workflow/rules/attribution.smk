# Which training samples did it: the exact decomposition by sample, other methods' scores, and models trained on subsets to compare with.
# Influence of every training sample on every output of the first test samples.
rule attribution:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/attribution.zarr"),
    log:
        f"{LOGS}/{{experiment}}/attribution.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/attribution.jsonl"
    priority: priority_of("attribution")
    threads: threads_of("attribution")
    resources:
        **asks("attribution"),
    params:
        **depends("attribution"),
    script:
        "../scripts/stage.py"


# A few predictions decomposed by training samples.
rule contributions:
    input:
        trajectory=rules.record.output.trajectory,
        attribution=rules.attribution.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/contributions.csv",
    log:
        f"{LOGS}/{{experiment}}/contributions.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/contributions.jsonl"
    priority: priority_of("contributions")
    threads: threads_of("contributions")
    resources:
        **asks("contributions"),
    params:
        **depends("contributions"),
    script:
        "../scripts/stage.py"


# The same question, answered by other methods.
rule baseline:
    input:
        trajectory=rules.record.output.trajectory,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/baselines/{{method}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/baseline/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/baseline/{{method}}.jsonl"
    priority: priority_of("baseline")
    threads: threads_of("baseline")
    resources:
        **asks("baseline"),
    params:
        **depends("baseline"),
    script:
        "../scripts/stage.py"


# Models trained on subsets: many small jobs, side by side.
rule retrain:
    input:
        data=dataset,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/retrained/{{fraction}}/{{start}}-{{stop}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/retrain/{{fraction}}/{{start}}-{{stop}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/retrain/{{fraction}}/{{start}}-{{stop}}.jsonl"
    priority: priority_of("retrain")
    threads: threads_of("retrain")
    resources:
        **asks("retrain"),
    params:
        **depends("retrain"),
    script:
        "../scripts/stage.py"


# How well scores predict what models trained on subsets output.
rule datamodel:
    input:
        trajectory=rules.record.output.trajectory,
        attribution=rules.attribution.output.output,
        baselines=every("baseline"),
        retrained=every("retrain"),
    output:
        output=f"{RESULTS}/{{experiment}}/datamodel.csv",
    log:
        f"{LOGS}/{{experiment}}/datamodel.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/datamodel.jsonl"
    priority: priority_of("datamodel")
    threads: threads_of("datamodel")
    resources:
        **asks("datamodel"),
    params:
        **depends("datamodel"),
    script:
        "../scripts/stage.py"
