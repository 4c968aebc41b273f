# Test x train kernels and test x test similarities of each layer, for a few updates around the run's phases.
rule window:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
        phases=rules.phases.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/windows/{{window}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/window/{{window}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/window/{{window}}.jsonl"
    priority: priority_of("window")
    threads: threads_of("window")
    resources:
        **asks("window"),
    params:
        **depends("window"),
    script:
        "../scripts/stage.py"


# Which periods the similarities of the last window have.
rule periodicity:
    input:
        window=f"{RESULTS}/{{experiment}}/windows/late.zarr",
        phases=rules.phases.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/periodicity.csv",
    log:
        f"{LOGS}/{{experiment}}/periodicity.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/periodicity.jsonl"
    priority: priority_of("periodicity")
    threads: threads_of("periodicity")
    resources:
        **asks("periodicity"),
    params:
        **depends("periodicity"),
    script:
        "../scripts/stage.py"


# The same for each choice of what is explained, side by side, for the last updates of each window.
rule outputs:
    input:
        trajectory=rules.record.output.trajectory,
        certificate=rules.certify.output.output,
        phases=rules.phases.output.output,
    output:
        kernel=directory(f"{RESULTS}/{{experiment}}/outputs/{{window}}/kernel.zarr"),
        similarity=directory(f"{RESULTS}/{{experiment}}/outputs/{{window}}/similarity.zarr"),
    log:
        f"{LOGS}/{{experiment}}/outputs/{{window}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/outputs/{{window}}.jsonl"
    priority: priority_of("outputs")
    threads: threads_of("outputs")
    resources:
        **asks("outputs"),
    params:
        **depends("outputs"),
    script:
        "../scripts/stage.py"


# Which periods and which frequencies the last window's similarities have, for each choice.
rule spectra:
    input:
        window=f"{RESULTS}/{{experiment}}/windows/late.zarr",
        outputs=f"{RESULTS}/{{experiment}}/outputs/late/similarity.zarr",
        phases=rules.phases.output.output,
    output:
        output=f"{RESULTS}/{{experiment}}/spectra.csv",
    log:
        f"{LOGS}/{{experiment}}/spectra.log",
    priority: priority_of("spectra")
    threads: threads_of("spectra")
    resources:
        **asks("spectra"),
    params:
        **depends("spectra"),
    script:
        "../scripts/stage.py"


# The power of every frequency in parameters and logits, over the whole run.
rule frequencies:
    input:
        trajectory=rules.record.output.trajectory,
    output:
        output=f"{RESULTS}/{{experiment}}/frequencies.csv",
    log:
        f"{LOGS}/{{experiment}}/frequencies.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/frequencies.jsonl"
    priority: priority_of("frequencies")
    threads: threads_of("frequencies")
    resources:
        **asks("frequencies"),
    params:
        **depends("frequencies"),
    script:
        "../scripts/stage.py"
