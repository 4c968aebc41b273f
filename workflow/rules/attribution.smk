# Which training samples did it: the exact decomposition by sample, other methods' scores, and models trained on subsets to compare with.
def retrained(wildcards):
    """Models of every fraction, by ranges of subsets."""
    values = CONFIGS[wildcards.experiment]
    options, size = values["study"]["datamodel"], values["execution"]["retrain_subsets"]
    counts = {f"{fraction:g}": options["subsets"] for fraction in options["fractions"]}
    if options["leave_one_out"]:
        counts["leave-one-out"] = options["leave_one_out"]
    return [
        f"{RESULTS}/{wildcards.experiment}/retrained/{fraction}/{start:06d}-{min(start + size, count):06d}.zarr"
        for fraction, count in counts.items()
        for start in range(0, count, size)
    ]


# Influence of every training sample on every output of the first test samples.
rule attribution:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/attribution.zarr"),
    log:
        f"{LOGS}/{{experiment}}/attribution.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/attribution.jsonl"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=240,
        gpu=gpus,
    params:
        config=stage_config("attribution"),
        source=stage_source("attribution"),
    script:
        "../scripts/study.py"


# A few predictions taken apart by training samples.
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
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=15,
    params:
        config=stage_config("contributions"),
        source=stage_source("contributions"),
    script:
        "../scripts/study.py"


# The same question, answered by other methods.
rule baseline:
    input:
        trajectory=rules.record.output.trajectory,
    output:
        baseline=directory(f"{RESULTS}/{{experiment}}/baselines/{{method}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/baseline/{{method}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/baseline/{{method}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(5000),
        runtime=240,
        gpu=0,
    params:
        config=stage_config("baseline"),
        source=stage_source("baseline"),
    script:
        "../scripts/baseline.py"


# Models trained on subsets: many small jobs, side by side.
rule retrain:
    input:
        data=dataset,
    output:
        retrained=directory(f"{RESULTS}/{{experiment}}/retrained/{{fraction}}/{{start}}-{{stop}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/retrain/{{fraction}}/{{start}}-{{stop}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/retrain/{{fraction}}/{{start}}-{{stop}}.jsonl"
    threads: lambda wildcards: CONFIGS[wildcards.experiment]["train"]["threads"]
    resources:
        mem_mb=memory(2000),
        runtime=240,
        gpu=gpus,
    params:
        config=stage_config("retrain"),
        source=stage_source("retrain"),
    script:
        "../scripts/retrain.py"


# How well scores predict what models trained on subsets output.
rule datamodel:
    input:
        trajectory=rules.record.output.trajectory,
        attribution=rules.attribution.output.output,
        baselines=lambda wildcards: [
            f"{RESULTS}/{wildcards.experiment}/baselines/{method}.zarr"
            for method in CONFIGS[wildcards.experiment]["study"]["datamodel"]["methods"]
            if method != "explaind"
        ],
        retrained=retrained,
    output:
        output=f"{RESULTS}/{{experiment}}/datamodel.csv",
    log:
        f"{LOGS}/{{experiment}}/datamodel.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/datamodel.jsonl"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        config=stage_config("datamodel"),
        source=stage_source("datamodel"),
    script:
        "../scripts/study.py"
