# Set-up and the commands. `make help` lists them.
PYTHON ?= python3
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SNAKEMAKE := $(BIN)/python workflow/warm.py --workflow-profile workflow/profiles/default --cores $(CORES)

.DEFAULT_GOAL := help
.PHONY: help figures plan test test-cluster test-kill bench docs notebooks lint wheel-check clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

# Installed once, and again when the dependencies change.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test,cluster]'
	touch $@

figures: $(STAMP) ## every figure and table of the paper that is implemented, and results/report.html
	$(SNAKEMAKE) --logger explaind --prioritize results/figures/fig03a_influence.pdf -- all

plan: $(STAMP) ## what `make figures` would cost: jobs, hours, memory, disk, wall time
	$(BIN)/snakemake --workflow-profile workflow/profiles/default --cores $(CORES) --nolock --quiet host progress reason rules -- plan

test: $(STAMP) ## all tests, the whole workflow at toy size included
	$(BIN)/python -m pytest -n $(or $(WORKERS),auto) --dist loadfile --no-loadscope-reorder

test-cluster: $(STAMP) ## the workflow on a real Slurm of one node, which root can install and start here
	tests/cluster/install.sh
	$(BIN)/python -m pytest -m cluster -n 0 $(or $(TESTS),tests/cluster)

test-kill: $(STAMP) ## the whole workflow at toy size, killed twenty times and started again
	$(BIN)/python -m pytest -m kill tests/workflow/test_kill.py

bench: $(STAMP) ## time and memory of the parts that cost most
	$(BIN)/python -m benchmarks

docs: $(STAMP) ## the documentation as a site in build/site, with what is made from the code; links are checked
	$(BIN)/python -m explaind.config.documents
	$(BIN)/python -m tests.situations
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

notebooks: $(STAMP) ## docs/notebooks, executed again; the one of stored results reads results/
	$(BIN)/python -m pip install --quiet -c constraints.txt nbclient ipykernel
	cd docs/notebooks && for one in *.ipynb; do OMP_NUM_THREADS=1 ../../$(BIN)/jupyter execute --inplace $$one || exit 1; done

lint: $(STAMP) ## style of Python and of the rules, spelling, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/codespell . results/README.md
	$(BIN)/mypy

wheel-check: $(STAMP) ## build the wheel, and use it outside of the checkout
	$(BIN)/python -m pytest tests/packaging/test_wheel.py

clean: ## remove caches and builds; results and the environment stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find explaind tests workflow -name __pycache__ -type d -prune -exec rm -rf {} +
