# Test x train kernels and test x test similarities of each layer, for a few updates around the run's phases.
rule window:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
        phases=rules.phases.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/windows/{{window}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/window/{{window}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/window/{{window}}.jsonl"
    threads: threads_of("window")
    resources:
        **asks("window"),
    params:
        **depends("window"),
    script:
        "../scripts/stage.py"


# Which periods the similarities of the last window have.
rule periodicity:
    input:
        window=f"{RESULTS}/{{experiment}}/windows/late.zarr",
        phases=rules.phases.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/periodicity.csv",
    log:
        f"{LOGS}/{{experiment}}/periodicity.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/periodicity.jsonl"
    threads: threads_of("periodicity")
    resources:
        **asks("periodicity"),
    params:
        **depends("periodicity"),
    script:
        "../scripts/stage.py"
