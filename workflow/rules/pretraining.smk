# Language models: text → tokens → training with checkpoints. Checkpoints of others' runs are read where they are.
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


# Paragraphs of every language, from packages or from files of the user's.
rule corpus:
    input:
        text=own_text,
    output:
        output=directory(f"{RESULTS}/{{experiment}}/corpus"),
    log:
        f"{LOGS}/{{experiment}}/corpus.log",
    priority: priority_of("corpus")
    threads: threads_of("corpus")
    resources:
        **asks("corpus"),
    params:
        **depends("corpus"),
    script:
        "../scripts/stage.py"


# A byte-level BPE, and packed sequences.
rule tokens:
    input:
        corpus=rules.corpus.output.output,
        given=own_tokenizer,
    output:
        tokenizer=f"{RESULTS}/{{experiment}}/tokenizer.json",
        tokens=directory(f"{RESULTS}/{{experiment}}/tokens.zarr"),
        table=f"{RESULTS}/{{experiment}}/languages.csv",
    log:
        f"{LOGS}/{{experiment}}/tokens.log",
    benchmark:
        f"{BENCHMARKS}/{{experiment}}/tokens.jsonl"
    priority: priority_of("tokens")
    threads: threads_of("tokens")
    resources:
        **asks("tokens"),
    params:
        **depends("tokens"),
    script:
        "../scripts/stage.py"


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
    priority: priority_of("pretrain")
    threads: threads_of("pretrain")
    resources:
        **asks("pretrain"),
    params:
        **depends("pretrain"),
    script:
        "../scripts/stage.py"
