# One rule per figure of the paper, named like its module in explaind/figures. The numbers are all in the inputs.
FIGURE_NAMES = {
    "grokking": [
        "fig03a_influence",
        "fig04_kernel_decoder",
        "fig05_similarity",
        "fig09_kernel_layers",
        "fig12_lasso",
        "fig13_similarity_layers",
    ],
}
FIGURES = [
    f"{RESULTS}/figures/{name}.{suffix}"
    for experiment in CONFIGS
    for name in FIGURE_NAMES.get(experiment, [])
    for suffix in ("pdf", "png")
]


rule fig03a:
    input:
        influence=f"{RESULTS}/grokking/influence.zarr",
        metrics=f"{RESULTS}/grokking/metrics.csv",
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        pdf=f"{RESULTS}/figures/fig03a_influence.pdf",
        png=report(
            f"{RESULTS}/figures/fig03a_influence.png",
            caption="../report/fig03a.rst",
            category="Figures",
            labels={"figure": "3a", "shows": "influence per update and layer"},
        ),
    log:
        f"{LOGS}/grokking/fig03a.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig03a"),
        source=grokking_source("fig03a"),
    script:
        "../scripts/figure.py"


rule fig04:
    input:
        windows=windows("early", "middle", "late"),
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        pdf=f"{RESULTS}/figures/fig04_kernel_decoder.pdf",
        png=report(
            f"{RESULTS}/figures/fig04_kernel_decoder.png",
            caption="../report/fig04.rst",
            category="Figures",
            labels={"figure": "4", "shows": "kernel of the decoder, test x train"},
        ),
    log:
        f"{LOGS}/grokking/fig04.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig04"),
        source=grokking_source("fig04"),
    script:
        "../scripts/figure.py"


rule fig05:
    input:
        windows=windows("middle", "late"),
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        pdf=f"{RESULTS}/figures/fig05_similarity.pdf",
        png=report(
            f"{RESULTS}/figures/fig05_similarity.png",
            caption="../report/fig05.rst",
            category="Figures",
            labels={"figure": "5", "shows": "similarity of predictions"},
        ),
    log:
        f"{LOGS}/grokking/fig05.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig05"),
        source=grokking_source("fig05"),
    script:
        "../scripts/figure.py"


rule fig09:
    input:
        windows=windows("early", "onset", "middle", "late"),
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        pdf=f"{RESULTS}/figures/fig09_kernel_layers.pdf",
        png=report(
            f"{RESULTS}/figures/fig09_kernel_layers.png",
            caption="../report/fig09.rst",
            category="Figures",
            labels={"figure": "9", "shows": "kernel of every layer, test x train"},
        ),
    log:
        f"{LOGS}/grokking/fig09.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig09"),
        source=grokking_source("fig09"),
    script:
        "../scripts/figure.py"


rule fig12:
    input:
        periodicity=f"{RESULTS}/grokking/periodicity.csv",
    output:
        pdf=f"{RESULTS}/figures/fig12_lasso.pdf",
        png=report(
            f"{RESULTS}/figures/fig12_lasso.png",
            caption="../report/fig12.rst",
            category="Figures",
            labels={"figure": "12", "shows": "periods of the similarity"},
        ),
    log:
        f"{LOGS}/grokking/fig12.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig12"),
        source=grokking_source("fig12"),
    script:
        "../scripts/figure.py"


rule fig13:
    input:
        windows=windows("early", "onset", "middle", "late"),
        phases=f"{RESULTS}/grokking/phases.json",
    output:
        pdf=f"{RESULTS}/figures/fig13_similarity_layers.pdf",
        png=report(
            f"{RESULTS}/figures/fig13_similarity_layers.png",
            caption="../report/fig13.rst",
            category="Figures",
            labels={"figure": "13", "shows": "similarity of every layer"},
        ),
    log:
        f"{LOGS}/grokking/fig13.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="grokking",
        config=grokking_config("fig13"),
        source=grokking_source("fig13"),
    script:
        "../scripts/figure.py"
