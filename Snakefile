# From a configuration to every figure and table:
#
#   train → select → record → certify, phases
#                    record → influence parts → accumulate → tables, figures → report
#                    record + phases → windows → periodicity → tables, figures
#                    record → importances, outputs, spectra, frequencies → tables, figures
#   data → train …   record → attribution, baselines;  data → retrain;  all three → datamodel → tables, figures
#                    record → pruning → tables, figures
#                    record + phases → transplants, swap → tables, figures
#   record + phases → interventions → proportionality → tables, figures
#   corpus → tokens → pretrain → updates, languages, intervals → tables, figures
#                     pretrain → interventions → proportionality → tables, figures
#
# Examples:
#   snakemake --cores all figures
#   snakemake --cores 2 plan                 what it costs, before any work
#   snakemake --cores 2 --config scale=smoke results=/tmp/smoke -- report
#   snakemake --cores 8 --config experiment=grokking 'overrides=["train.seed=7"]' -- figures
#
# What is made, below results/ (results/README.md explains every file's columns and units):
#
#   {experiment}/seeds/{seed}/{metrics.csv,summary.json}   every seed, trained without recording
#   {experiment}/selection.json                            the seed to explain, and the rule that chose it
#   {experiment}/trajectory.{zarr,json}, metrics.csv       that seed, recorded
#   {experiment}/phases.json                               steps of memorisation and generalisation, windows
#   {experiment}/certificate.zarr                          every update rebuilt and compared
#   {experiment}/parts/{start}-{stop}/{first}-{last}.zarr  influence of a range of updates on a range of test samples
#   {experiment}/influence.zarr                            all parts added up
#   {experiment}/windows/{window}.zarr                     test x train kernels of a window of updates
#   {experiment}/runs/{setting}/{seed}/                    every seed in several settings, explained
#   {experiment}/quadrature/{nodes}.zarr                   predictions with a fixed number of nodes
#   {experiment}/periodicity.csv                           Lasso coefficients of the last window's similarity
#   {experiment}/importances.csv                           importances for each choice of what is explained
#   {experiment}/outputs/{window}/*.zarr                   kernels and similarities for each choice
#   {experiment}/spectra.csv                               Lasso coefficients on periods and frequencies, for each choice
#   {experiment}/frequencies.csv                           power of every frequency over training
#   {experiment}/data.zarr                                 the data set, fetched and checked
#   {experiment}/fidelity.csv                              rows of table 1
#   {experiment}/attribution.zarr                          influence of every training sample
#   {experiment}/contributions.csv                         single predictions, by training samples
#   {experiment}/baselines/{method}.zarr                   the same by other methods
#   {experiment}/retrained/{fraction}/{start}-{stop}.zarr  outputs of models trained on subsets
#   {experiment}/datamodel.csv                             linear datamodel scores
#   {experiment}/interventions/{window}.csv                interventions on a window of updates, predicted and measured
#   {experiment}/update_interventions/{checkpoint}.csv     the same on a simulated update of a language model
#   {experiment}/interval_interventions/{checkpoint}.csv   the same on the updates that follow a checkpoint
#   {experiment}/interventions.csv, proportionality.csv    all windows together; how well scores predict
#   {experiment}/sparse.csv                                fidelity by share of steps kept
#   {experiment}/pruning/{split}.csv                       models of which only some parameters are kept
#   {experiment}/transplants/{combination}/{checkpoint}.csv training with layers of the run and new ones
#   {experiment}/swap.{zarr,csv}                           earlier checkpoints with the last one's layers
#   {experiment}/corpus/, tokenizer.json, tokens.zarr      text by language, and packed sequences of it
#   {experiment}/languages.csv                             what each language contributes to both
#   {experiment}/checkpoints/{checkpoint}/                 weights and optimizer state of a language model in training
#   {experiment}/pretraining.csv, losses.csv               loss of every update; losses by language
#   {experiment}/updates/{checkpoint}.zarr, updates.zarr   one simulated update of each checkpoint, by unit
#   {experiment}/update_languages/{checkpoint}.zarr        the same by training and held-out language
#   {experiment}/intervals/{checkpoint}.zarr               every update up to the next checkpoint
#   tables/*.csv · figures/*.{pdf,png} · report.html, and its pages in report/
#   logs/ · benchmarks/                                    by experiment and rule
from snakemake.utils import min_version

min_version("9.0")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/certify.smk"
include: "workflow/rules/influence.smk"
include: "workflow/rules/windows.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/fidelity.smk"
include: "workflow/rules/attribution.smk"
include: "workflow/rules/pruning.smk"
include: "workflow/rules/transplant.smk"
include: "workflow/rules/pretraining.smk"
include: "workflow/rules/updates.smk"
include: "workflow/rules/update_interventions.smk"
include: "workflow/rules/proportionality.smk"
include: "workflow/rules/products.smk"
include: "workflow/rules/plan.smk"


localrules:
    all,
    figures,
    tables,
    report,
    plan,


# Not of dry runs, nor of jobs: the process that plans and sends them.
onstart:
    # A plan reads records and runs nothing: it can be asked while a workflow runs (with --nolock, as `make plan` does).
    if any(job.rule.name != "plan" for job in workflow.dag.needrun_jobs()):
        lock_results()
        announce()


rule all:
    default_target: True
    input:
        FIGURE_FILES,
        TABLE_FILES,
        f"{RESULTS}/report.html",


rule figures:
    input:
        FIGURE_FILES,
        TABLE_FILES,


rule tables:
    input:
        TABLE_FILES,
