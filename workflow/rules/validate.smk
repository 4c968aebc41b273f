# Predictions rebuilt with a fixed number of nodes at every update: the baseline of the adaptive quadrature.
rule quadrature:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
    output:
        quadrature=directory(f"{RESULTS}/{{experiment}}/quadrature/{{nodes}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/quadrature/{{nodes}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/quadrature/{{nodes}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=480,
        gpu=0,
    params:
        config=lambda wildcards: settings(
            CONFIGS[wildcards.experiment], "quadrature", nodes=int(wildcards.nodes)
        ),
        source=stage_source("quadrature"),
    script:
        "../scripts/quadrature.py"
