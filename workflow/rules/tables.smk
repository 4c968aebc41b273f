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
}
TABLES = [
    f"{RESULTS}/tables/{name}.csv" for experiment in CONFIGS for name in TABLE_SHOWS.get(experiment, {})
]


rule table01_fidelity:
    input:
        quadratures=grokking_files("quadrature/{}.zarr", "study", "quadrature", "nodes"),
        influence=f"{RESULTS}/grokking/influence.zarr",
    output:
        output=f"{RESULTS}/tables/table01_fidelity.csv",
    log:
        f"{LOGS}/grokking/table01_fidelity.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("table01_fidelity"),
        source=grokking_source("table01_fidelity"),
    script:
        "../scripts/table.py"


rule certificate:
    input:
        certificate=f"{RESULTS}/grokking/certificate.zarr",
    output:
        output=f"{RESULTS}/tables/certificate.csv",
    log:
        f"{LOGS}/grokking/certificate.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("certificate"),
        source=grokking_source("certificate"),
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
        config=grokking_config("seeds"),
        source=grokking_source("seeds"),
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
        config=grokking_config("lasso"),
        source=grokking_source("lasso"),
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
        config=grokking_config("structure"),
        source=grokking_source("structure"),
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
        config=grokking_config("findings"),
        source=grokking_source("findings"),
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
        config=grokking_config("findings_logits"),
        source=grokking_source("findings_logits"),
    script:
        "../scripts/table.py"
