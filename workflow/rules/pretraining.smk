# Language models: text → tokens → training with checkpoints; one update of each checkpoint explained, by unit and by language; whole
# intervals of our own run explained update by update. Checkpoints of others' runs are read where they lie.
def own_text(wildcards):
    """The user's files of text, if that is where the text comes from: changed ones are read again."""
    data = CONFIGS[wildcards.experiment]["data"]
    if data["source"]["kind"] != "folder":
        return []
    files = [Path(data["source"]["folder"]) / f"{name}.txt" for name in data["languages"]]
    return [str(path) for path in files if path.is_file()]  # the stage says what is missing


def own_tokenizer(wildcards):
    """The user's tokenizer, if there is one."""
    chosen = CONFIGS[wildcards.experiment]["data"]["tokenizer"]
    return chosen["file"] if chosen["kind"] == "file" else []


def foreign_checkpoint(wildcards):
    """The files of one checkpoint that others trained, as far as they lie in folders."""
    chosen = CONFIGS[wildcards.experiment]["checkpoints"]
    folders = [chosen["folder"] if chosen["source"] == "folder" else None, chosen["optimizer"]["folder"]]
    places = [Path(folder) / wildcards.checkpoint for folder in folders if folder]
    return sorted(str(path) for place in places for path in place.glob("*") if path.is_file())


# Paragraphs of every language, from packages or from files of the user's.
rule corpus:
    input:
        text=own_text,
    output:
        corpus=directory(f"{RESULTS}/{{experiment}}/corpus"),
    log:
        f"{LOGS}/{{experiment}}/corpus.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=60,
    params:
        config=stage_config("corpus"),
        source=stage_source("corpus"),
    script:
        "../scripts/corpus.py"


# A byte-level BPE, and packed sequences.
rule tokens:
    input:
        corpus=rules.corpus.output.corpus,
        given=own_tokenizer,
    output:
        tokenizer=f"{RESULTS}/{{experiment}}/tokenizer.json",
        tokens=directory(f"{RESULTS}/{{experiment}}/tokens.zarr"),
        table=f"{RESULTS}/{{experiment}}/languages.csv",
    log:
        f"{LOGS}/{{experiment}}/tokens.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/tokens.jsonl"
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        config=stage_config("tokens"),
        source=stage_source("tokens"),
    script:
        "../scripts/tokens.py"


# An interrupted training continues from its last checkpoint, beside the output.
rule pretrain:
    input:
        tokens=rules.tokens.output.tokens,
    output:
        checkpoints=directory(f"{RESULTS}/{{experiment}}/checkpoints"),
        metrics=f"{RESULTS}/{{experiment}}/pretraining.csv",
        losses=f"{RESULTS}/{{experiment}}/losses.csv",
    log:
        f"{LOGS}/{{experiment}}/pretrain.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/pretrain.jsonl"
    # The order of float sums depends on the number of threads, so the configuration sets it.
    threads: lambda wildcards: CONFIGS[wildcards.experiment]["train"]["threads"]
    resources:
        mem_mb=memory(4000),
        runtime=240,
        gpu=gpus,
    params:
        config=stage_config("pretrain"),
        source=stage_source("pretrain"),
    script:
        "../scripts/pretrain.py"


# One simulated update from a checkpoint: its batch, its momentum and its weight decay, by unit of the model.
rule explain_update:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=trained_checkpoints,
        files=foreign_checkpoint,
    output:
        explained=directory(f"{RESULTS}/{{experiment}}/updates/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_update/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_update/{{checkpoint}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=120,
        gpu=gpus,
    params:
        config=stage_config("explain_update"),
        source=stage_source("explain_update"),
    script:
        "../scripts/explain_update.py"


# The same update by language: training language → held-out language.
rule explain_languages:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=trained_checkpoints,
        files=foreign_checkpoint,
        explained=rules.explain_update.output.explained,
    output:
        languages=directory(f"{RESULTS}/{{experiment}}/update_languages/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_languages/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_languages/{{checkpoint}}.jsonl"
    threads: 1
    resources:
        mem_mb=memory(5000),
        runtime=240,
        gpu=gpus,
    params:
        config=stage_config("explain_languages"),
        source=stage_source("explain_languages"),
    script:
        "../scripts/explain_languages.py"


# Every update between two checkpoints of our own run: what subsampling leaves out.
rule explain_interval:
    input:
        tokens=rules.tokens.output.tokens,
        checkpoints=rules.pretrain.output.checkpoints,
    output:
        interval=directory(f"{RESULTS}/{{experiment}}/intervals/{{checkpoint}}.zarr"),
    log:
        f"{LOGS}/{{experiment}}/explain_interval/{{checkpoint}}.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/explain_interval/{{checkpoint}}.jsonl"
    # As the run was trained: then its updates are repeated bit for bit.
    threads: lambda wildcards: CONFIGS[wildcards.experiment]["train"]["threads"]
    resources:
        mem_mb=memory(3000),
        runtime=240,
        gpu=gpus,
    params:
        config=stage_config("explain_interval"),
        source=stage_source("explain_interval"),
    script:
        "../scripts/explain_interval.py"


# All checkpoints in one store.
rule updates:
    input:
        updates=lambda wildcards: explained("updates", wildcards.experiment),
    output:
        output=directory(f"{RESULTS}/{{experiment}}/updates.zarr"),
    log:
        f"{LOGS}/{{experiment}}/updates.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        config=stage_config("updates"),
        source=stage_source("updates"),
    script:
        "../scripts/study.py"
