# One HTML file with every figure, table and caption, and how each was made. Snakemake writes it from its own records, so a second
# Snakemake is run on the same request once everything exists; it only reads, hence --nolock.
rule report:
    input:
        FIGURES,
        TABLES,
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
            [sys.executable, "-m", "snakemake", "figures", "tables", "--nolock", "--cores", "1"]
            + ["--snakefile", workflow.main_snakefile]
            + (
                ["--config", *(f"{key}={json.dumps(value)}" for key, value in REQUEST.items())]
                if REQUEST
                else []
            )
        ),
    shell:
        "{params.command} --report {output.report:q} > {log:q} 2>&1"
