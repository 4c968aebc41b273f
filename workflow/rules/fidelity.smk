# Predictions rebuilt with a fixed number of nodes at every update: the baseline of the adaptive quadrature.
rule quadrature:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/quadrature/{{nodes}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/quadrature/{{nodes}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/quadrature/{{nodes}}.jsonl"
    priority: priority_of("quadrature")
    threads: threads_of("quadrature")
    resources:
        **asks("quadrature"),
    params:
        **depends("quadrature"),
    script:
        "../scripts/stage.py"


# One experiment's rows of table 1.
rule fidelity:
    input:
        quadratures=every("quadrature"),
        influence=rules.accumulate.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/fidelity.csv",
    log:
        f"{LOGS}/{{experiment}}/fidelity.log",
    priority: priority_of("fidelity")
    threads: threads_of("fidelity")
    resources:
        **asks("fidelity"),
    params:
        **depends("fidelity"),
    script:
        "../scripts/stage.py"


# How many of the steps a decomposition needs.
rule sparse:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/sparse.csv",
    log:
        f"{LOGS}/{{experiment}}/sparse.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/sparse.jsonl"
    priority: priority_of("sparse")
    threads: threads_of("sparse")
    resources:
        **asks("sparse"),
    params:
        **depends("sparse"),
    script:
        "../scripts/stage.py"


# Figure 3a's importances for each choice of what is explained, every few updates.
rule importances:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/importances.csv",
    log:
        f"{LOGS}/{{experiment}}/importances.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/importances.jsonl"
    priority: priority_of("importances")
    threads: threads_of("importances")
    resources:
        **asks("importances"),
    params:
        **depends("importances"),
    script:
        "../scripts/stage.py"
