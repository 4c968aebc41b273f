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
        gpu=gpus,
    params:
        config=lambda wildcards: settings(
            CONFIGS[wildcards.experiment], "quadrature", nodes=int(wildcards.nodes)
        ),
        source=stage_source("quadrature"),
    script:
        "../scripts/quadrature.py"


# One experiment's rows of table 1.
rule fidelity:
    input:
        quadratures=lambda wildcards: [
            f"{RESULTS}/{wildcards.experiment}/quadrature/{nodes}.zarr"
            for nodes in CONFIGS[wildcards.experiment]["study"]["quadrature"]["nodes"]
        ],
        influence=f"{RESULTS}/{{experiment}}/influence.zarr",
    output:
        output=f"{RESULTS}/{{experiment}}/fidelity.csv",
    log:
        f"{LOGS}/{{experiment}}/fidelity.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        config=stage_config("fidelity"),
        source=stage_source("fidelity"),
    script:
        "../scripts/fidelity.py"
