# Every seed of a list, in the experiment's own setting and in others, explained from training to windows: one job each, which keeps
# only curves and tables.
def unrecorded(wildcards):
    """The same seed's run without a recorder, if there is one to compare with."""
    trained = wildcards.seed in [job["seed"] for job in jobs_of("train", CONFIGS[wildcards.experiment])]
    return f"{RESULTS}/{wildcards.experiment}/seeds/{wildcards.seed}/summary.json" if trained else []


rule explain_run:
    input:
        data=dataset,
        unrecorded=unrecorded,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/runs/{{setting}}/{{seed}}"),
    log:
        f"{LOGS}/{{experiment}}/explain_run/{{setting}}/{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_run/{{setting}}/{{seed}}.jsonl"
    priority: priority_of("explain_run")
    threads: threads_of("explain_run")
    resources:
        **asks("explain_run"),
    params:
        **depends("explain_run"),
    script:
        "../scripts/stage.py"
