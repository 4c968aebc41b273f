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
