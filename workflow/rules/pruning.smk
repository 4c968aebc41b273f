# Models of which only some parameters are kept: every method and fraction, for one split of the test set into scored and evaluated.
rule pruning:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/pruning/{{split}}.csv",
    log:
        f"{LOGS}/{{experiment}}/pruning/{{split}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/pruning/{{split}}.jsonl"
    priority: priority_of("pruning")
    threads: threads_of("pruning")
    resources:
        **asks("pruning"),
    params:
        **depends("pruning"),
    script:
        "../scripts/stage.py"
