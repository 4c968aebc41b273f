# Which periods the similarities of the last window have.
rule periodicity:
    input:
        window=f"{RESULTS}/{{experiment}}/windows/late.zarr",
        phases=rules.phases.output.phases,
    output:
        coefficients=f"{RESULTS}/{{experiment}}/periodicity.csv",
    log:
        f"{LOGS}/{{experiment}}/periodicity.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/periodicity.jsonl"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=60,
    params:
        config=stage_config("periodicity"),
        source=stage_source("periodicity"),
    script:
        "../scripts/periodicity.py"


# Figure 3a's importances on logits, every few updates.
rule logits:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
    output:
        importances=f"{RESULTS}/{{experiment}}/logits.csv",
    log:
        f"{LOGS}/{{experiment}}/logits.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/logits.jsonl"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
        gpu=gpus,
    params:
        config=stage_config("logits"),
        source=stage_source("logits"),
    script:
        "../scripts/logits.py"


# How many of the steps a decomposition needs.
rule sparse:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
    output:
        output=f"{RESULTS}/{{experiment}}/sparse.csv",
    log:
        f"{LOGS}/{{experiment}}/sparse.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/sparse.jsonl"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
        gpu=gpus,
    params:
        config=stage_config("sparse"),
        source=stage_source("sparse"),
    script:
        "../scripts/study.py"
