# Influence of each layer at each update on every test and output, by independent ranges of updates and test samples.
# A part beyond the end of the run is valid and empty: the run's length is not known when the work is cut.
rule influence:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
    output:
        output=directory(
            f"{RESULTS}/{{experiment}}/parts/{{start}}-{{stop}}/{{tests_from}}-{{tests_to}}.zarr"
        ),
    log:
        f"{LOGS}/{{experiment}}/influence/{{start}}-{{stop}}/{{tests_from}}-{{tests_to}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/influence/{{start}}-{{stop}}/{{tests_from}}-{{tests_to}}.jsonl"
    priority: priority_of("influence")
    threads: threads_of("influence")
    resources:
        **asks("influence"),
    params:
        **depends("influence"),
    script:
        "../scripts/stage.py"


# Add the parts up: declared inputs, never a glob.
rule accumulate:
    input:
        parts=every("influence"),
    output:
        output=directory(f"{RESULTS}/{{experiment}}/influence.zarr"),
    log:
        f"{LOGS}/{{experiment}}/accumulate.log",
    priority: priority_of("accumulate")
    threads: threads_of("accumulate")
    resources:
        **asks("accumulate"),
    params:
        **depends("accumulate"),
    script:
        "../scripts/stage.py"
