# Layers moved between checkpoints of the run and other networks: does what the scores call important carry what the run has learnt?
# Networks with some layers of the run and all others drawn anew, trained as the run was: many jobs, side by side.
rule transplant:
    input:
        trajectory=rules.record.output.trajectory,
        phases=rules.phases.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/transplants/{{combination}}/{{checkpoint}}.csv",
    log:
        f"{LOGS}/{{experiment}}/transplant/{{combination}}/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/transplant/{{combination}}/{{checkpoint}}.jsonl"
    wildcard_constraints:
        combination=r"\w+",
    priority: priority_of("transplant")
    threads: threads_of("transplant")
    resources:
        **asks("transplant"),
    params:
        **depends("transplant"),
    script:
        "../scripts/stage.py"


# The last checkpoint's layers in earlier ones, without training.
rule swap:
    input:
        trajectory=rules.record.output.trajectory,
        phases=rules.phases.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/swap.zarr"),
        curves=f"{RESULTS}/{{experiment}}/swap.csv",
    log:
        f"{LOGS}/{{experiment}}/swap.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/swap.jsonl"
    priority: priority_of("swap")
    threads: threads_of("swap")
    resources:
        **asks("swap"),
    params:
        **depends("swap"),
    script:
        "../scripts/stage.py"
