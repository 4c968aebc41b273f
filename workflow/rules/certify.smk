# Rebuild every recorded update from its terms and compare it with the observed one, before anything is explained.
rule certify:
    input:
        trajectory=rules.record.output.trajectory,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/certificate.zarr"),
    log:
        f"{LOGS}/{{experiment}}/certify.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/certify.jsonl"
    priority: priority_of("certify")
    threads: threads_of("certify")
    resources:
        **asks("certify"),
    params:
        **depends("certify"),
    script:
        "../scripts/stage.py"
