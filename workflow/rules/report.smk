# One HTML file with every figure, table and caption, and how each was made. Snakemake writes it from its own records, so a second
# Snakemake is run on the same request once everything exists; it only reads, hence --nolock.
# The report can show a page but only offers a CSV for download, so each table gets a page.
PAGES = {
    f"{RESULTS}/report/{table}.html": (table, shows)
    for experiment in CONFIGS
    for table, shows in TABLE_SHOWS.get(experiment, {}).items()
}


rule pages:
    input:
        tables=TABLES,
    output:
        *[
            report(
                page,
                caption=f"../report/{table}.rst",
                category="Tables",
                labels={"table": table, "shows": shows},
            )
            for page, (table, shows) in PAGES.items()
        ],
    log:
        f"{LOGS}/pages.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=5,
    params:
        experiment=next(iter(CONFIGS)),
        config="{}",
        source=source(CONFIGS[next(iter(CONFIGS))], "pages"),
    script:
        "../scripts/pages.py"


rule report:
    input:
        FIGURES,
        TABLES,
        list(PAGES),
    output:
        report=f"{RESULTS}/report.html",
    log:
        f"{LOGS}/report.log",
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        command=shlex.join(
            [sys.executable, "-m", "snakemake", *FIGURES, *PAGES, "--nolock", "--cores", "1"]
            + ["--snakefile", workflow.main_snakefile]
            + (
                ["--config", *(f"{key}={json.dumps(value)}" for key, value in REQUEST.items())]
                if REQUEST
                else []
            )
        ),
    shell:
        "{params.command} --report {output.report:q} > {log:q} 2>&1"
