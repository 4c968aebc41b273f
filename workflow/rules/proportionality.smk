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
    threads: threads_of("intervention")
    resources:
        **asks("intervention"),
    params:
        **depends("intervention"),
    script:
        "../scripts/stage.py"


# Measured against predicted, over all windows.
rule proportionality:
    input:
        interventions=every("intervention"),
    output:
        output=f"{RESULTS}/{{experiment}}/proportionality.csv",
        points=f"{RESULTS}/{{experiment}}/interventions.csv",
    log:
        f"{LOGS}/{{experiment}}/proportionality.log",
    threads: threads_of("proportionality")
    resources:
        **asks("proportionality"),
    params:
        **depends("proportionality"),
    script:
        "../scripts/stage.py"
