# One update of each checkpoint explained, by unit and by language; whole intervals of our own run explained update by update.
def trained_checkpoints(wildcards):
    """The folder of our own training's checkpoints; nothing where they come from elsewhere."""
    own = CONFIGS[wildcards.experiment]["checkpoints"]["source"] == "trained"
    return f"{RESULTS}/{wildcards.experiment}/checkpoints" if own else []


def foreign_checkpoint(wildcards):
    """The files of one checkpoint that others trained, as far as they are in folders."""
    chosen = CONFIGS[wildcards.experiment]["checkpoints"]
    folders = [chosen["folder"] if chosen["source"] == "folder" else None, chosen["optimizer"]["folder"]]
    places = [Path(folder) / wildcards.checkpoint for folder in folders if folder]
    return sorted(str(path) for place in places for path in place.glob("*") if path.is_file())


# One simulated update from a checkpoint: its batch, its momentum and its weight decay, by unit of the model.
rule explain_update:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=trained_checkpoints,
        files=foreign_checkpoint,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/updates/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_update/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_update/{{checkpoint}}.jsonl"
    priority: priority_of("explain_update")
    threads: threads_of("explain_update")
    resources:
        **asks("explain_update"),
    params:
        **depends("explain_update"),
    script:
        "../scripts/stage.py"


# The same update by language: training language → held-out language.
rule explain_languages:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=trained_checkpoints,
        files=foreign_checkpoint,
        explained=rules.explain_update.output.output,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/update_languages/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_languages/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_languages/{{checkpoint}}.jsonl"
    priority: priority_of("explain_languages")
    threads: threads_of("explain_languages")
    resources:
        **asks("explain_languages"),
    params:
        **depends("explain_languages"),
    script:
        "../scripts/stage.py"


# Every update between two checkpoints of our own run: what subsampling leaves out.
rule explain_interval:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=rules.pretrain.output.checkpoints,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/intervals/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_interval/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_interval/{{checkpoint}}.jsonl"
    priority: priority_of("explain_interval")
    threads: threads_of("explain_interval")
    resources:
        **asks("explain_interval"),
    params:
        **depends("explain_interval"),
    script:
        "../scripts/stage.py"


# All checkpoints in one store.
rule updates:
    input:
        updates=every("explain_update"),
    output:
        output=directory(f"{RESULTS}/{{experiment}}/updates.zarr"),
    log:
        f"{LOGS}/{{experiment}}/updates.log",
    priority: priority_of("updates")
    threads: threads_of("updates")
    resources:
        **asks("updates"),
    params:
        **depends("updates"),
    script:
        "../scripts/stage.py"
