# One rule per table, named like its module in explaind/tables: CSV, columns explained in results/README.md.
TABLE_SHOWS = {
    "grokking": {
        "table01_fidelity": "predictions rebuilt, by number of nodes",
        "certificate": "every update rebuilt",
        "seeds": "every seed that was tried",
        "lasso": "periods of the similarity",
        "structure": "bands and cycles of every layer and window",
        "findings": "what the figures must show, measured",
        "findings_logits": "figure 3a's claims on logits, measured",
    },
    "mnist": {
        "table01_fidelity": "predictions rebuilt, by number of nodes",
        "certificate": "every update rebuilt",
        "lds": "data attribution against retrained models",
    },
    "mnist_long": {
        "certificate": "every update rebuilt",
        "sparse_steps": "fidelity by share of steps kept",
    },
    "cifar2": {
        "table01_fidelity": "predictions rebuilt, by number of nodes",
        "certificate": "every update rebuilt",
        "lds": "data attribution against retrained models",
    },
    "eurollm": {
        "text": "text and loss of every language",
        "reconstruction": "the loss change of every checkpoint's update",
        **(
            {
                "subsampling": "checkpoints alone against every update",
                "extrapolation": "a batch's later momentum, measured and extrapolated",
            }
            if own_checkpoints("eurollm")
            else {}
        ),
        "findings_pretraining": "what the language model's figures must show, measured",
    },
}
TABLES = [
    f"{RESULTS}/tables/{name}.csv"
    for name in dict.fromkeys(name for experiment in CONFIGS for name in TABLE_SHOWS.get(experiment, {}))
]


rule table01_fidelity:
    input:
        fidelities=expand(f"{RESULTS}/{{experiment}}/fidelity.csv", experiment=having("study", "quadrature")),
    output:
        output=f"{RESULTS}/tables/table01_fidelity.csv",
    log:
        f"{LOGS}/table01_fidelity.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment=next(iter(CONFIGS)),
        config="{}",
        source=source_of(next(iter(CONFIGS)), "table01_fidelity"),
    script:
        "../scripts/table.py"


rule certificate:
    input:
        certificates=expand(f"{RESULTS}/{{experiment}}/certificate.zarr", experiment=having("verify")),
    output:
        output=f"{RESULTS}/tables/certificate.csv",
    log:
        f"{LOGS}/certificate.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment=next(iter(CONFIGS)),
        config="{}",
        source=source_of(next(iter(CONFIGS)), "certificate"),
    script:
        "../scripts/table.py"


rule lds:
    input:
        scores=expand(f"{RESULTS}/{{experiment}}/datamodel.csv", experiment=having("study", "datamodel")),
    output:
        output=f"{RESULTS}/tables/lds.csv",
    log:
        f"{LOGS}/lds.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment=next(iter(CONFIGS)),
        config="{}",
        source=source_of(next(iter(CONFIGS)), "lds"),
    script:
        "../scripts/table.py"


rule sparse_steps:
    input:
        sparse=f"{RESULTS}/mnist_long/sparse.csv",
    output:
        output=f"{RESULTS}/tables/sparse_steps.csv",
    log:
        f"{LOGS}/sparse_steps.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment=next(iter(CONFIGS)),
        config="{}",
        source=source_of(next(iter(CONFIGS)), "sparse_steps"),
    script:
        "../scripts/table.py"


rule seeds:
    input:
        summaries=grokking_files("seeds/{}/summary.json", "train", "seeds"),
        metrics=grokking_files("seeds/{}/metrics.csv", "train", "seeds"),
        selection=f"{RESULTS}/grokking/selection.json",
    output:
        output=f"{RESULTS}/tables/seeds.csv",
        curves=f"{RESULTS}/tables/seeds_curves.csv",
    log:
        f"{LOGS}/grokking/seeds.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=config_of("grokking", "seeds"),
        source=source_of("grokking", "seeds"),
    script:
        "../scripts/table.py"


rule lasso:
    input:
        periodicity=f"{RESULTS}/grokking/periodicity.csv",
    output:
        output=f"{RESULTS}/tables/lasso.csv",
    log:
        f"{LOGS}/grokking/lasso.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=config_of("grokking", "lasso"),
        source=source_of("grokking", "lasso"),
    script:
        "../scripts/table.py"


rule structure:
    input:
        windows=windows("early", "onset", "middle", "late"),
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        output=f"{RESULTS}/tables/structure.csv",
    log:
        f"{LOGS}/grokking/structure.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=config_of("grokking", "structure"),
        source=source_of("grokking", "structure"),
    script:
        "../scripts/table.py"


rule findings:
    input:
        influence=f"{RESULTS}/grokking/influence.zarr",
        metrics=f"{RESULTS}/grokking/metrics.csv",
        phases=f"{RESULTS}/grokking/phases.json",
        summary=f"{RESULTS}/grokking/trajectory.json",
        certificate=f"{RESULTS}/grokking/certificate.zarr",
        structure=f"{RESULTS}/tables/structure.csv",
        periodicity=f"{RESULTS}/grokking/periodicity.csv",
    output:
        output=f"{RESULTS}/tables/findings.csv",
    log:
        f"{LOGS}/grokking/findings.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=config_of("grokking", "findings"),
        source=source_of("grokking", "findings"),
    script:
        "../scripts/table.py"


rule findings_logits:
    input:
        logits=f"{RESULTS}/grokking/logits.csv",
        metrics=f"{RESULTS}/grokking/metrics.csv",
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        output=f"{RESULTS}/tables/findings_logits.csv",
    log:
        f"{LOGS}/grokking/findings_logits.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=config_of("grokking", "findings_logits"),
        source=source_of("grokking", "findings_logits"),
    script:
        "../scripts/table.py"
