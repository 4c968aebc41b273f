# Figures, tables and the report. Each figure and table declares itself in its module in explaind/figures or explaind/tables: one
# rule is made of every declaration here, with the same name.
#: What is to be looked at is made as soon as it can be.
DRAWN = 20


def source_files(source, experiment):
    """The files behind one declared input, of one experiment."""
    files = []
    for origin in origins(source):
        if not available(origin.maker, CONFIGS[experiment]):
            continue
        if origin.name in stages():
            files += files_of(origin.name, experiment, *origin.chosen, output=origin.output)
        else:
            made_of_it = (one for one in TABLES if one.name == origin.name and experiment in one.experiments)
            files.append(table_file(next(made_of_it), origin.output))
    return files


def table_file(one, output="output"):
    """An output of a table."""
    return f"{RESULTS}/tables/{one.files[output]}.csv"


def inputs_of(one):
    """The named inputs of a figure or table: of its experiment, or of all the experiments that it puts together."""
    inputs = {}
    for name, source in one.product.inputs.items():
        files = [file for experiment in one.experiments for file in source_files(source, experiment)]
        if files:
            inputs[name] = list(dict.fromkeys(files)) if reads_many(one.product, source) else files[0]
    return inputs


def params_of(one):
    """The params of a figure's or table's rule: a change in the options that it reads, or in the code that it runs, reruns it."""
    first = one.experiments[0]
    return {
        "experiment": first,
        # Functions: Snakemake looks for wildcards in the braces of texts, and a digest is taken for the jobs there are alone.
        "config": lambda wildcards: product_settings(one, CONFIGS),
        "source": lambda wildcards: source(CONFIGS[first], one.name),
        "module": module_of(one.name),
        "columns": lambda wildcards: columns_of(one.product),
    }


def columns_of(product):
    """A table's columns with their units and meanings, which its module and its typed file hold; a figure has none."""
    return json.dumps([getattr(product, "columns", {}), getattr(product, "also_columns", {})])


def group_of(one):
    """Figures and tables take seconds: a cluster runs several of an experiment as one job, how many says its profile."""
    return "products" if one.product.across else f"products_{one.experiments[0]}"


def log_of(one):
    """Beside the experiment's other logs, or above them for what puts several together."""
    return f"{LOGS}/{one.name}.log" if one.product.across else f"{LOGS}/{one.experiments[0]}/{one.name}.log"


for one in TABLES:

    rule:
        name:
            one.rule
        input:
            **inputs_of(one),
        output:
            **{name: table_file(one, name) for name in one.files},
            typed=[Path(table_file(one, name)).with_suffix(".parquet") for name in one.files],
            page=report(
                f"{RESULTS}/report/{one.file}.html",
                caption="../report/caption.rst",
                category="Tables",
                labels={"table": one.file, "shows": one.product.shows},
            ),
        log:
            log_of(one),
        priority: DRAWN
        group:
            group_of(one)
        threads: 1
        resources:
            mem_mb=memory(one.product.memory),
            runtime=one.product.runtime,
        params:
            **params_of(one),
        script:
            "../scripts/table.py"


for one in FIGURES:

    rule:
        name:
            one.rule
        input:
            **inputs_of(one),
        output:
            pdf=f"{RESULTS}/figures/{one.file}.pdf",
            png=report(
                f"{RESULTS}/figures/{one.file}.png",
                caption="../report/caption.rst",
                category="Figures",
                labels={"figure": one.label, "shows": one.product.shows},
            ),
        log:
            log_of(one),
        priority: DRAWN
        group:
            group_of(one)
        threads: 1
        resources:
            mem_mb=memory(one.product.memory),
            runtime=one.product.runtime,
        params:
            **params_of(one),
        script:
            "../scripts/figure.py"


# One HTML file with every figure, table and caption, and how each was made. Snakemake writes it from its own records, so a second
# Snakemake is run on the same request once everything exists; it only reads, hence --nolock. The report can show a page but only
# offers a CSV for download, so each table has a page.
rule report:
    input:
        FIGURE_FILES,
        TABLE_FILES,
        PAGE_FILES,
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
            [sys.executable, "-m", "snakemake", *FIGURE_FILES, *PAGE_FILES, "--nolock", "--cores", "1"]
            + ["--snakefile", workflow.main_snakefile]
            + (
                ["--config", *(f"{key}={json.dumps(value)}" for key, value in REQUEST.items())]
                if REQUEST
                else []
            )
        ),
        # What the second Snakemake shows besides files: captions, and the list's labels.
        shown=hashlib.sha256(
            json.dumps(
                [
                    (one.rule, one.product.caption, one.product.shows, one.label)
                    for one in (*FIGURES, *TABLES)
                ]
            ).encode()
        ).hexdigest(),
    shell:
        "{params.command} --report {output.report:q} > {log:q} 2>&1"
