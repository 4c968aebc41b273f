# Interventions on a language model: what happens without a part of an update, and what the scores said would happen.
# On the simulated update of a checkpoint.
rule update_intervention:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=trained_checkpoints,
        files=foreign_checkpoint,
    output:
        output=f"{RESULTS}/{{experiment}}/update_interventions/{{checkpoint}}.csv",
    log:
        f"{LOGS}/{{experiment}}/update_intervention/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/update_intervention/{{checkpoint}}.jsonl"
    priority: priority_of("update_intervention")
    threads: threads_of("update_intervention")
    resources:
        **asks("update_intervention"),
    params:
        **depends("update_intervention"),
    script:
        "../scripts/stage.py"


# On the updates of our own run that follow a checkpoint.
rule interval_intervention:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=rules.pretrain.output.checkpoints,
    output:
        output=f"{RESULTS}/{{experiment}}/interval_interventions/{{checkpoint}}.csv",
    log:
        f"{LOGS}/{{experiment}}/interval_intervention/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/interval_intervention/{{checkpoint}}.jsonl"
    priority: priority_of("interval_intervention")
    threads: threads_of("interval_intervention")
    resources:
        **asks("interval_intervention"),
    params:
        **depends("interval_intervention"),
    script:
        "../scripts/stage.py"
