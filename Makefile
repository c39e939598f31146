# Everything the suite does, by name. Each target makes what it needs, the virtual environment first (once, in .venv).
#
#   make glue-rte MODEL=roberta_large METHOD=lora SEED=11111 ARGS="recipe.epochs=10 train.precision=bf16"

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
RELEASE_TOOLS = $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[release]'
OLDEST_PYTHON ?= python3.12
OLDEST := .venv-oldest
OPTIONS = $(if $(MODEL),model=$(MODEL)) $(if $(METHOD),method=$(METHOD)) $(if $(SEED),seed=$(SEED)) $(ARGS)
GLUE := cola mnli mrpc qnli qqp rte sst2 stsb
VIT := cifar cifar100 pets cars dtd eurosat fgvc resisc45 dtd_10 pets_3
E2E := medium large
STUDIES := scaling bias basis rank expressive memory curves initialisation luck grid transfer where
INSTRUCT := llama1_7b llama1_13b llama2_7b llama2_13b
TABLES := table2 table3 table4 table5

.DEFAULT_GOAL := help
.PHONY: help setup test test-slow test-oldest lint demo bench gpu gpu-pack parameters tables scale figures page docs lock release clean $(GLUE:%=glue-%) $(VIT:%=vit-%) $(E2E:%=e2e-%) $(INSTRUCT:%=instruct-%) $(STUDIES:%=study-%) $(TABLES) $(TABLES:%=plan-%) table6 plan-table6

help: ## this list
	@grep -hE '^[a-z%<>-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'
	@printf '  make %-14s %s\n' 'glue-<set>' 'one GLUE run; <set> is one of: $(GLUE)'
	@printf '  make %-14s %s\n' 'vit-<set>' 'one image run; <set> is one of: $(VIT)'
	@printf '  make %-14s %s\n' 'e2e-<size>' 'one run of GPT-2 on E2E NLG; <size> is one of: $(E2E)'
	@printf '  make %-14s %s\n' 'instruct-<model>' 'one run of instruction tuning; <model> is one of: $(INSTRUCT)'
	@printf '  make %-14s %s\n' 'study-<name>' 'one study of the paper, SCALE=mini|small|paper (mini, where not said) JOBS=2; <name> is one of: $(STUDIES)'
	@printf '  make %-14s %s\n' 'table<k>' 'what a table of the paper lacks, SCALE=paper|small|mini (table6: mini first) JOBS=2; <k> is one of: 2 3 4 5 6'
	@printf '  make %-14s %s\n' 'plan-table<k>' 'what that is, and what it takes'
	@printf '\n  Options of a run: SEED=0 ARGS="any.key=value ..." MODEL= and METHOD=, one of\n'
	@printf '    MODEL:  %s\n    METHOD: %s\n' '$(notdir $(basename $(wildcard configs/model/*.yaml)))' '$(notdir $(basename $(wildcard configs/method/*.yaml)))'

setup: $(READY) ## the virtual environment with every pinned package (several GB, some minutes, once); INDEX=URL: an index besides, as of CPU builds

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 10) or sys.exit(f"Python {v[0]}.{v[1]} is too old: make PYTHON=python3.10 (or newer) ...")'
	@echo "Setting up $(VENV): several GB to fetch, once."
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(if $(INDEX),--extra-index-url $(INDEX)) --editable '.[suite,dev,docs]'
	@touch $@

$(GLUE:%=glue-%): glue-%: $(READY)
	@$(RUN) run.py +exp=glue_$* $(OPTIONS)

$(VIT:%=vit-%): vit-%: $(READY)
	@$(RUN) run.py +exp=vit_$* $(OPTIONS)

$(E2E:%=e2e-%): e2e-%: $(READY)
	@$(RUN) run.py +exp=e2e_gpt2_$* $(OPTIONS)

$(INSTRUCT:%=instruct-%): instruct-%: $(READY)
	@$(RUN) run.py +exp=instruct_$* $(OPTIONS)

$(STUDIES:%=study-%): study-%: $(READY)
	@$(RUN) -m scripts.study $* $(if $(SCALE),--scale $(SCALE)) $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

$(TABLES): %: $(READY)
	@$(RUN) -m scripts.table $* $(if $(SCALE),--scale $(SCALE)) $(if $(JOBS),--jobs $(JOBS)) $(OPTIONS)

$(TABLES:%=plan-%): plan-%: $(READY)
	@$(RUN) -m scripts.table $* --plan $(if $(SCALE),--scale $(SCALE)) $(OPTIONS)

plan-table6: override ARGS += --plan
table6 plan-table6: study-basis

demo: $(READY) ## FourierFT beside LoRA on all four kinds of experiment in miniature, some minutes; JOBS=2: two at once
	@$(RUN) -m scripts.demo $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

bench: $(READY) ## speed and memory of training steps, small on a CPU, full on a GPU, ten minutes; ARGS="--cases bank": of mixed batches
	@$(RUN) -m scripts.bench $(ARGS)

gpu: $(READY) ## all that only a GPU can tell, in ten minutes; ARGS="--minutes 30", or "--small": a rehearsal on the CPU
	@$(RUN) -m scripts.gpu $(ARGS)

gpu-pack: $(READY) ## build/gpu-pack, for `make gpu` where there is a GPU and torch but no network; ARGS="--there FILE"
	@$(RUN) -m scripts.gpu_pack $(ARGS)

parameters: $(READY) ## count every method of the paper on its models at full size, without weights; ARGS="MODEL --force"
	@$(RUN) -m scripts.parameters $(ARGS)

tables: $(READY) ## results/tables, results/README.md and the numbers of README.md and docs/, from the records
	@$(RUN) -m scripts.tables --fill README.md docs/*.md

scale: $(READY) ## results/scale.md: what the whole paper takes: runs, steps, hours, disk
	@$(RUN) -m scripts.scale $(ARGS)

figures: $(READY) ## results/figures from the records
	@$(RUN) -m scripts.figures

page: $(READY) ## results/page.html: every run to sort, filter, plot and open, beside the paper's rows; from the records
	@$(RUN) -m scripts.page $(ARGS)

docs: $(READY) ## build/site: the documentation, which needs no server and no network to be read; from Python 3.11
	@NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet --strict && echo build/site/index.html

test: lint ## lint, then the tests: no network, no GPU, some minutes
	@$(RUN) -m pytest -n 2 --dist loadfile $(ARGS)

test-slow: $(READY) ## the tests that take minutes each
	@$(RUN) -m pytest -m slow $(ARGS)

test-oldest: $(OLDEST)/.ready ## the tests with the oldest versions that pyproject.toml allows; ARGS=tests/fourierft
	@$(OLDEST)/bin/python -m pytest -n 2 --dist loadfile $(ARGS)

$(OLDEST)/.ready: pyproject.toml
	@command -v $(OLDEST_PYTHON) > /dev/null || { echo "There is no $(OLDEST_PYTHON): make OLDEST_PYTHON=python3.11 ..." >&2; exit 1; }
	@echo "Setting up $(OLDEST): several GB to fetch, once."
	@$(OLDEST_PYTHON) -m venv --clear $(OLDEST)
	@grep -oE '[a-z0-9-]+>=[0-9.]+' $< | sed 's/>=/==/' > $(OLDEST)/constraints.txt
	@$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(OLDEST)/constraints.txt --editable '.[suite,dev]'
	@touch $@

lock: $(READY) ## constraints.txt, after a change of pyproject.toml; ARGS=--upgrade: everything anew
	@$(RELEASE_TOOLS)
	@$(RUN) -m uv pip compile --quiet --universal --python-version 3.10 --all-extras --no-annotate --custom-compile-command 'make lock' --output-file constraints.txt $(ARGS) pyproject.toml

release: $(READY) ## dist/: the library's wheel and source, checked, for a package index; URL=https://github.com/OWNER/NAME
	@$(RELEASE_TOOLS)
	@$(RUN) -m scripts.release $(URL) $(ARGS)

lint: $(READY) ## ruff, check and format; mypy, the types of fourierft/
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

clean: ## remove checkpoints, adapters and W&B files of runs; records, tables and runs/models stay
	@test ! -d runs || find runs -mindepth 1 -maxdepth 1 ! -name models -exec rm -rf {} +
