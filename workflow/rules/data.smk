# Fetch a data set, check it, and keep it as one store: everything later reads that store alone.
rule data:
    output:
        output=directory(f"{RESULTS}/{{experiment}}/data.zarr"),
    log:
        f"{LOGS}/{{experiment}}/data.log",
    priority: priority_of("data")
    threads: threads_of("data")
    resources:
        **asks("data"),
    params:
        **depends("data"),
    script:
        "../scripts/stage.py"
