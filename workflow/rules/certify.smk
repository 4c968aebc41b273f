# Rebuild every recorded update from its terms and compare it with the observed one, before anything is explained.
rule certify:
    input:
        trajectory=rules.record.output.trajectory,
    output:
        certificate=directory(f"{RESULTS}/{{experiment}}/certificate.zarr"),
    log:
        f"{LOGS}/{{experiment}}/certify.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/certify.jsonl"
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
        gpu=gpus,
    params:
        config=stage_config("certify"),
        source=stage_source("certify"),
    script:
        "../scripts/certify.py"
