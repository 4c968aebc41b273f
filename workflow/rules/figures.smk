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
    "mnist": ["data_mnist", "examples_mnist", "fig07_lds"],
    "mnist_long": ["fig08_sparse"],
    "cifar2": ["data_cifar2", "examples_cifar2", "fig07_lds"],
    "eurollm": [
        "fig06_batch",
        "fig14_regularization",
        "fig15_momentum",
        "eurollm_languages",
        "eurollm_heads",
        *(["eurollm_training", "eurollm_subsampling"] if own_checkpoints("eurollm") else []),
    ],
}
FIGURES = [
    f"{RESULTS}/figures/{name}.{suffix}"
    for name in dict.fromkeys(name for experiment in CONFIGS for name in FIGURE_NAMES.get(experiment, []))
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
        config=config_of("grokking", "fig03a"),
        source=source_of("grokking", "fig03a"),
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
        config=config_of("grokking", "fig04"),
        source=source_of("grokking", "fig04"),
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
        config=config_of("grokking", "fig05"),
        source=source_of("grokking", "fig05"),
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
        config=config_of("grokking", "fig09"),
        source=source_of("grokking", "fig09"),
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
        config=config_of("grokking", "fig12"),
        source=source_of("grokking", "fig12"),
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
        config=config_of("grokking", "fig13"),
        source=source_of("grokking", "fig13"),
    script:
        "../scripts/figure.py"


rule fig07:
    input:
        lds=f"{RESULTS}/tables/lds.csv",
    output:
        pdf=f"{RESULTS}/figures/fig07_lds.pdf",
        png=report(
            f"{RESULTS}/figures/fig07_lds.png",
            caption="../report/fig07.rst",
            category="Figures",
            labels={"figure": "7", "shows": "data attribution against retrained models"},
        ),
    log:
        f"{LOGS}/fig07.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment=first_of("mnist", "cifar2"),
        config=config_of(first_of("mnist", "cifar2"), "fig07"),
        source=source_of(first_of("mnist", "cifar2"), "fig07"),
    script:
        "../scripts/figure.py"


rule fig08:
    input:
        sparse=f"{RESULTS}/mnist_long/sparse.csv",
    output:
        pdf=f"{RESULTS}/figures/fig08_sparse.pdf",
        png=report(
            f"{RESULTS}/figures/fig08_sparse.png",
            caption="../report/fig08.rst",
            category="Figures",
            labels={"figure": "8", "shows": "fidelity by share of steps kept"},
        ),
    log:
        f"{LOGS}/mnist_long/fig08.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="mnist_long",
        config=config_of("mnist_long", "fig08"),
        source=source_of("mnist_long", "fig08"),
    script:
        "../scripts/figure.py"


rule examples:
    input:
        examples=f"{RESULTS}/{{experiment}}/contributions.csv",
        trajectory=f"{RESULTS}/{{experiment}}/trajectory.zarr",
    output:
        pdf=f"{RESULTS}/figures/examples_{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/figures/examples_{{experiment}}.png",
            caption="../report/examples.rst",
            category="Figures",
            labels={"figure": "{experiment}", "shows": "helpful and harmful training images"},
        ),
    log:
        f"{LOGS}/{{experiment}}/examples.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        config=stage_config("examples"),
        source=stage_source("examples"),
    script:
        "../scripts/figure.py"


rule contact_sheet:
    input:
        data=f"{RESULTS}/{{experiment}}/data.zarr",
    output:
        pdf=f"{RESULTS}/figures/data_{{experiment}}.pdf",
        png=report(
            f"{RESULTS}/figures/data_{{experiment}}.png",
            caption="../report/contact_sheet.rst",
            category="Figures",
            labels={"figure": "{experiment}", "shows": "contact sheet of the data set"},
        ),
    log:
        f"{LOGS}/{{experiment}}/contact_sheet.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        config=stage_config("contact_sheet"),
        source=stage_source("contact_sheet"),
    script:
        "../scripts/figure.py"
