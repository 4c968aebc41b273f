# Train every seed of the list, without recording: one job each, side by side.
rule train:
    input:
        data=dataset,
    output:
        metrics=f"{RESULTS}/{{experiment}}/seeds/{{seed}}/metrics.csv",
        summary=f"{RESULTS}/{{experiment}}/seeds/{{seed}}/summary.json",
    log:
        f"{LOGS}/{{experiment}}/train/{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/train/{{seed}}.jsonl"
    # The order of float sums depends on the number of threads, so the configuration sets it.
    threads: lambda wildcards: CONFIGS[wildcards.experiment]["train"]["threads"]
    resources:
        mem_mb=memory(1500),
        runtime=60,
        gpu=gpus,
    params:
        config=stage_config("train"),
        source=stage_source("train"),
    script:
        "../scripts/train.py"
