# Add the parts up: declared inputs, never a glob.
def parts(wildcards):
    """Every part of the run, named by the range of its updates."""
    values = CONFIGS[wildcards.experiment]
    last, size = values["train"]["max_steps"], values["execution"]["part_steps"]
    return [
        f"{RESULTS}/{wildcards.experiment}/parts/{start:06d}-{min(start + size, last):06d}.zarr"
        for start in range(0, last, size)
    ]


rule accumulate:
    input:
        parts=parts,
    output:
        influence=directory(f"{RESULTS}/{{experiment}}/influence.zarr"),
    log:
        f"{LOGS}/{{experiment}}/accumulate.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=15,
    params:
        config=stage_config("accumulate"),
        source=stage_source("accumulate"),
    script:
        "../scripts/accumulate.py"
