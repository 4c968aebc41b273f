# Fetch a data set, check it, and keep it as one store: everything later reads that store alone.
rule data:
    output:
        data=directory(f"{RESULTS}/{{experiment}}/data.zarr"),
    log:
        f"{LOGS}/{{experiment}}/data.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        config=stage_config("data"),
        source=stage_source("data"),
    script:
        "../scripts/data.py"
