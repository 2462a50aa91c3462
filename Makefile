# `make figures` and `make test` each set up .venv on a bare machine (Python ≥ 3.11, git), then do their job.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all

.PHONY: figures test lint dag help
help:
	@echo "make figures   train, evaluate and draw the glyph study (STUDY=omniglot for another)"
	@echo "make test      run the tests"
	@echo "make lint      ruff, snakefmt and snakemake --lint"
	@echo "make dag       docs/dag.md: the rules and what they wait for"

figures: $(VENV)/.ready
	. $(BIN)/activate && snakemake --cores $(CORES) results/figures $(if $(STUDY),--config 'study=$(STUDY)')

test: $(VENV)/.ready
	. $(BIN)/activate && OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile

lint: $(VENV)/.ready
	. $(BIN)/activate && ruff check . && ruff format --check . && snakefmt --check Snakefile workflow && snakemake --lint

dag: $(VENV)/.ready
	. $(BIN)/activate && { \
	  printf '# The DAG\n\nWritten by `make dag`: the rules of a study, and what each waits for.\n\n```mermaid\n'; \
	  snakemake --rulegraph mermaid-js --quiet all all | sed -n '/^flowchart/,$$p' | grep -v '^	style'; \
	  printf '```\n'; } > docs/dag.md

# The stamp is written last: an installation that was interrupted is taken up again.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), but 3.11 or newer is needed; try make PYTHON=python3.12 …"; exit 1; }
	@echo 'setting up $(VENV): about 5 GB, a few minutes …'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q --editable '.[dev]' --constraint constraints.txt
	touch $@
