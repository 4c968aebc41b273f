# Test x train kernels and test x test similarities of each layer, for a few updates around the run's phases.
rule window:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
        phases=rules.phases.output.phases,
    output:
        window=directory(f"{RESULTS}/{{experiment}}/windows/{{window}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/window/{{window}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/window/{{window}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
        gpu=gpus,
    params:
        config=stage_config("window"),
        source=stage_source("window"),
    script:
        "../scripts/window.py"
