# Interventions on a recorded run, window by window: what happens, and what the scores said would happen.
def placed_windows(wildcards):
    """Where a run's windows lie, for the experiments that have any."""
    has_phases = available(stages()["phases"], CONFIGS[wildcards.experiment])
    return f"{RESULTS}/{wildcards.experiment}/phases.json" if has_phases else []


rule intervention:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
        phases=placed_windows,
    output:
        output=f"{RESULTS}/{{experiment}}/interventions/{{window}}.csv",
    log:
        f"{LOGS}/{{experiment}}/intervention/{{window}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/intervention/{{window}}.jsonl"
    priority: priority_of("intervention")
    threads: threads_of("intervention")
    resources:
        **asks("intervention"),
    params:
        **depends("intervention"),
    script:
        "../scripts/stage.py"


def interventions(wildcards):
    """Every window of interventions: of a recorded run, or of a language model's updates and intervals."""
    kinds = ("intervention", "update_intervention", "interval_intervention")
    config = CONFIGS[wildcards.experiment]
    return [
        file
        for kind in kinds
        if available(stages()[kind], config)
        for file in files_of(kind, wildcards.experiment)
    ]


# Measured against predicted, over all windows.
rule proportionality:
    input:
        interventions=interventions,
    output:
        output=f"{RESULTS}/{{experiment}}/proportionality.csv",
        points=f"{RESULTS}/{{experiment}}/interventions.csv",
    log:
        f"{LOGS}/{{experiment}}/proportionality.log",
    priority: priority_of("proportionality")
    threads: threads_of("proportionality")
    resources:
        **asks("proportionality"),
    params:
        **depends("proportionality"),
    script:
        "../scripts/stage.py"
