# Influence of each layer at each update on every test and output, by independent ranges of updates.
# A part beyond the end of the run is valid and empty: the run's length is not known when the work is cut.
rule influence:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.certificate,
    output:
        part=directory(f"{RESULTS}/{{experiment}}/parts/{{start}}-{{stop}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/influence/{{start}}-{{stop}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/influence/{{start}}-{{stop}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
        gpu=gpus,
    params:
        config=stage_config("influence"),
        source=stage_source("influence"),
    script:
        "../scripts/influence.py"
