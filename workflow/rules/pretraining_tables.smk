# Tables of the language model.
rule text:
    input:
        languages=f"{RESULTS}/eurollm/languages.csv",
        losses=f"{RESULTS}/eurollm/losses.csv" if own_checkpoints("eurollm") else [],
    output:
        output=f"{RESULTS}/tables/text.csv",
    log:
        f"{LOGS}/eurollm/text.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "text"),
        source=source_of("eurollm", "text"),
    script:
        "../scripts/table.py"


rule reconstruction:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
    output:
        output=f"{RESULTS}/tables/reconstruction.csv",
    log:
        f"{LOGS}/eurollm/reconstruction.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="eurollm",
        config="{}",
        source=source_of("eurollm", "reconstruction"),
    script:
        "../scripts/table.py"


rule subsampling:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
        intervals=explained("intervals", "eurollm", "intervals"),
    output:
        output=f"{RESULTS}/tables/subsampling.csv",
    log:
        f"{LOGS}/eurollm/subsampling.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="eurollm",
        config="{}",
        source=source_of("eurollm", "subsampling"),
    script:
        "../scripts/table.py"


rule extrapolation:
    input:
        intervals=explained("intervals", "eurollm", "intervals"),
    output:
        output=f"{RESULTS}/tables/extrapolation.csv",
    log:
        f"{LOGS}/eurollm/extrapolation.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="eurollm",
        config="{}",
        source=source_of("eurollm", "extrapolation"),
    script:
        "../scripts/table.py"


rule findings_pretraining:
    input:
        updates=f"{RESULTS}/eurollm/updates.zarr",
        reconstruction=f"{RESULTS}/tables/reconstruction.csv",
        languages=explained("update_languages", "eurollm", "languages"),
        losses=f"{RESULTS}/eurollm/losses.csv" if own_checkpoints("eurollm") else [],
    output:
        output=f"{RESULTS}/tables/findings_pretraining.csv",
    log:
        f"{LOGS}/eurollm/findings_pretraining.log",
    threads: 1
    resources:
        mem_mb=memory(1500),
        runtime=10,
    params:
        experiment="eurollm",
        config=config_of("eurollm", "findings_pretraining"),
        source=source_of("eurollm", "findings_pretraining"),
    script:
        "../scripts/table.py"
