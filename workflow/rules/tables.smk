# One rule per table, named like its module in explaind/tables: CSV, columns explained in results/README.md.
TABLES = expand(
    f"{RESULTS}/tables/{{name}}.csv",
    name=[
        name
        for experiment, names in {
            "grokking": ["table01_fidelity", "certificate", "lasso", "findings", "seeds"],
        }.items()
        if experiment in CONFIGS
        for name in names
    ],
)


rule table01_fidelity:
    input:
        influence=f"{RESULTS}/grokking/influence.zarr",
        quadrature=expand(
            f"{RESULTS}/grokking/quadrature/{{nodes}}.zarr",
            nodes=[] if "grokking" not in CONFIGS else CONFIGS["grokking"]["study"]["quadrature"]["nodes"],
        ),
        summary=f"{RESULTS}/grokking/trajectory.json",
    output:
        table=report(
            f"{RESULTS}/tables/table01_fidelity.csv",
            caption="../report/table01_fidelity.rst",
            category="Tables",
            labels={"table": "table01_fidelity", "shows": "prediction rebuilt, by number of nodes"},
        ),
    log:
        f"{LOGS}/grokking/table01_fidelity.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
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
        influence=f"{RESULTS}/grokking/influence.zarr",
    output:
        table=report(
            f"{RESULTS}/tables/certificate.csv",
            caption="../report/certificate.rst",
            category="Tables",
            labels={"table": "certificate", "shows": "every update rebuilt"},
        ),
    log:
        f"{LOGS}/grokking/certificate.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("certificate"),
        source=grokking_source("certificate"),
    script:
        "../scripts/table.py"


rule lasso:
    input:
        coefficients=f"{RESULTS}/grokking/periodicity.csv",
    output:
        table=report(
            f"{RESULTS}/tables/lasso.csv",
            caption="../report/lasso.rst",
            category="Tables",
            labels={"table": "lasso", "shows": "Lasso coefficients"},
        ),
    log:
        f"{LOGS}/grokking/lasso.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("lasso"),
        source=grokking_source("lasso"),
    script:
        "../scripts/table.py"


rule findings:
    input:
        influence=f"{RESULTS}/grokking/influence.zarr",
        phases=f"{RESULTS}/grokking/phases.json",
        windows=windows("early", "onset", "middle", "late"),
        coefficients=f"{RESULTS}/grokking/periodicity.csv",
    output:
        table=report(
            f"{RESULTS}/tables/findings.csv",
            caption="../report/findings.rst",
            category="Tables",
            labels={"table": "findings", "shows": "what the figures must show"},
        ),
    log:
        f"{LOGS}/grokking/findings.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("findings"),
        source=grokking_source("findings"),
    script:
        "../scripts/table.py"


rule seeds:
    input:
        selection=f"{RESULTS}/grokking/selection.json",
        summary=f"{RESULTS}/grokking/trajectory.json",
    output:
        table=report(
            f"{RESULTS}/tables/seeds.csv",
            caption="../report/seeds.rst",
            category="Tables",
            labels={"table": "seeds", "shows": "every seed that was tried"},
        ),
    log:
        f"{LOGS}/grokking/seeds.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("seeds"),
        source=grokking_source("seeds"),
    script:
        "../scripts/table.py"
