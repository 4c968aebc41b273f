# Small jobs with the workflow's own requests and scripts, for what a cluster may do to a job. The tests copy this beside the Snakefile.
include: "workflow/rules/common.smk"


TOYS = f"{RESULTS}/{{experiment}}/toys"


# Asks for a GPU where execution.gpu says so, and writes which it sees; ends when as many as asked have begun.
rule device:
    output:
        output=f"{TOYS}/device-{{name}}.json",
    log:
        f"{TOYS}/device-{{name}}.log",
    resources:
        **asks("explain_update"),
    params:
        config="{}",
        begun=2,
        takes=0,
    script:
        "workflow/scripts/toy.py"


# Takes more memory than its first attempt asks for.
rule large:
    output:
        output=f"{TOYS}/large-{{name}}.json",
    log:
        f"{TOYS}/large-{{name}}.log",
    resources:
        mem_mb=memory(900),
        runtime=60,
    params:
        config="{}",
        begun=1,
        takes=1000,
    script:
        "workflow/scripts/toy.py"


# Runs until the test lets it end.
rule long:
    output:
        output=f"{TOYS}/long-{{name}}.json",
    log:
        f"{TOYS}/long-{{name}}.log",
    resources:
        **asks("train"),
    params:
        config="{}",
        begun=1,
        takes=0,
    script:
        "workflow/scripts/toy.py"


# Ends at once.
rule short:
    output:
        output=f"{TOYS}/short-{{name}}.json",
    log:
        f"{TOYS}/short-{{name}}.log",
    group:
        "toys"
    resources:
        **asks("train"),
    params:
        config="{}",
        begun=1,
        takes=0,
    script:
        "workflow/scripts/toy.py"
