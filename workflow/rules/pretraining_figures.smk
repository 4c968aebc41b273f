# Figures of the language model: 6, 14 and 15 of the paper, and more.
rule fig06:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
    output:
        pdf=f"{RESULTS}/figures/fig06_batch.pdf",
        png=report(
            f"{RESULTS}/figures/fig06_batch.png",
            caption="../report/fig06.rst",
            category="Figures",
            labels={"figure": "6", "shows": "batch influence by component and depth"},
        ),
    log:
        f"{LOGS}/eurollm/fig06.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "fig06"),
        source=source_of("eurollm", "fig06"),
    script:
        "../scripts/figure.py"


rule fig14:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
    output:
        pdf=f"{RESULTS}/figures/fig14_regularization.pdf",
        png=report(
            f"{RESULTS}/figures/fig14_regularization.png",
            caption="../report/fig14.rst",
            category="Figures",
            labels={"figure": "14", "shows": "regularization influence by component and depth"},
        ),
    log:
        f"{LOGS}/eurollm/fig14.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "fig14"),
        source=source_of("eurollm", "fig14"),
    script:
        "../scripts/figure.py"


rule fig15:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
    output:
        pdf=f"{RESULTS}/figures/fig15_momentum.pdf",
        png=report(
            f"{RESULTS}/figures/fig15_momentum.png",
            caption="../report/fig15.rst",
            category="Figures",
            labels={"figure": "15", "shows": "momentum influence by component and depth"},
        ),
    log:
        f"{LOGS}/eurollm/fig15.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "fig15"),
        source=source_of("eurollm", "fig15"),
    script:
        "../scripts/figure.py"


rule language_influence:
    input:
        languages=explained("update_languages", "eurollm", "languages"),
    output:
        pdf=f"{RESULTS}/figures/eurollm_languages.pdf",
        png=report(
            f"{RESULTS}/figures/eurollm_languages.png",
            caption="../report/language_influence.rst",
            category="Figures",
            labels={"figure": "languages", "shows": "training language to held-out language"},
        ),
    log:
        f"{LOGS}/eurollm/language_influence.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "language_influence"),
        source=source_of("eurollm", "language_influence"),
    script:
        "../scripts/figure.py"


rule heads:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
    output:
        pdf=f"{RESULTS}/figures/eurollm_heads.pdf",
        png=report(
            f"{RESULTS}/figures/eurollm_heads.png",
            caption="../report/heads.rst",
            category="Figures",
            labels={"figure": "heads", "shows": "influence of every attention head"},
        ),
    log:
        f"{LOGS}/eurollm/heads.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "heads"),
        source=source_of("eurollm", "heads"),
    script:
        "../scripts/figure.py"


rule pretraining:
    input:
        metrics=f"{RESULTS}/eurollm/pretraining.csv",
        losses=f"{RESULTS}/eurollm/losses.csv",
    output:
        pdf=f"{RESULTS}/figures/eurollm_training.pdf",
        png=report(
            f"{RESULTS}/figures/eurollm_training.png",
            caption="../report/pretraining.rst",
            category="Figures",
            labels={"figure": "training", "shows": "loss of the small EuroLLM by language"},
        ),
    log:
        f"{LOGS}/eurollm/pretraining.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "pretraining"),
        source=source_of("eurollm", "pretraining"),
    script:
        "../scripts/figure.py"


rule subsampling_figure:
    input:
        subsampling=f"{RESULTS}/tables/subsampling.csv",
        extrapolation=f"{RESULTS}/tables/extrapolation.csv",
    output:
        pdf=f"{RESULTS}/figures/eurollm_subsampling.pdf",
        png=report(
            f"{RESULTS}/figures/eurollm_subsampling.png",
            caption="../report/subsampling_figure.rst",
            category="Figures",
            labels={"figure": "subsampling", "shows": "checkpoints alone against every update"},
        ),
    log:
        f"{LOGS}/eurollm/subsampling_figure.log",
    threads: 1
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "subsampling_figure"),
        source=source_of("eurollm", "subsampling_figure"),
    script:
        "../scripts/figure.py"
