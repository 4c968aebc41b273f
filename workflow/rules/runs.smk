# Every seed of a list, in the experiment's own setting and in others, explained from training to windows: one job each, which keeps
# only curves and tables.
rule explain_run:
    input:
        data=dataset,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/runs/{{setting}}/{{seed}}"),
    log:
        f"{LOGS}/{{experiment}}/explain_run/{{setting}}/{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_run/{{setting}}/{{seed}}.jsonl"
    threads: threads_of("explain_run")
    resources:
        **asks("explain_run"),
    params:
        **depends("explain_run"),
    script:
        "../scripts/stage.py"
