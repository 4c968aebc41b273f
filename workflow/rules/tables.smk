# One rule per table, named like its module in explaind/tables: CSV, columns explained in results/README.md.
TABLES = expand(
    f"{RESULTS}/tables/{{name}}.csv",
    name=[
        name
        for experiment, names in {
            "grokking": [
                "table01_fidelity",
                "certificate",
                "seeds",
                "lasso",
                "structure",
                "findings",
            ],
        }.items()
        if experiment in CONFIGS
        for name in names
    ],
)


rule table01_fidelity:
    input:
        quadratures=grokking_files("quadrature/{}.zarr", "study", "quadrature", "nodes"),
        influence=f"{RESULTS}/grokking/influence.zarr",
    output:
        output=report(
            f"{RESULTS}/tables/table01_fidelity.csv",
            caption="../report/table01_fidelity.rst",
            category="Tables",
            labels={"table": "table01_fidelity", "shows": "predictions rebuilt, by number of nodes"},
        ),
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
        output=report(
            f"{RESULTS}/tables/certificate.csv",
            caption="../report/certificate.rst",
            category="Tables",
            labels={"table": "certificate", "shows": "every update rebuilt"},
        ),
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
        output=report(
            f"{RESULTS}/tables/seeds.csv",
            caption="../report/seeds.rst",
            category="Tables",
            labels={"table": "seeds", "shows": "every seed that was tried"},
        ),
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
        output=report(
            f"{RESULTS}/tables/lasso.csv",
            caption="../report/lasso.rst",
            category="Tables",
            labels={"table": "lasso", "shows": "periods of the similarity"},
        ),
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
        output=report(
            f"{RESULTS}/tables/structure.csv",
            caption="../report/structure.rst",
            category="Tables",
            labels={"table": "structure", "shows": "bands and cycles of every layer and window"},
        ),
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
        output=report(
            f"{RESULTS}/tables/findings.csv",
            caption="../report/findings.rst",
            category="Tables",
            labels={"table": "findings", "shows": "what the figures must show, measured"},
        ),
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
