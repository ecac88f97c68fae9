# Every target works on a fresh clone; `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup weights restore store verify demo reproduce test robustness determinism overhead benchmarks estimate lint lock report docs clean

BIN := .venv/bin
# A version manager may offer a python3.11 that does not start: take the first that does.
PYTHON ?= $(shell for p in python3.11 python3; do $$p -c pass 2> /dev/null && echo $$p && break; done)
TABLE := results/tables/celeba_fid.csv
ACCURACY := results/tables/attribute_accuracy.csv
FACES := results/tables/celebahq32
FIGURE := results/figures/attributes
BENCHMARKS := results/tables/benchmarks.csv
TARGET := all
# Of a reproduction that is under way.
BEFORE := checkpoints/reproduction

# Rules call plain `python`: it must be this environment's, with nothing mixed in.
export PATH := $(CURDIR)/$(BIN):$(PATH)
unexport PYTHONPATH PYTHONHOME

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-11s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed ## Create .venv with the exact versions of requirements.lock (Python 3.11 or 3.12)

.venv/.installed: requirements.lock pyproject.toml
	@python="$(or $(PYTHON),python3)"
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || {
	  echo "make setup: needs Python 3.11 or 3.12, found $$("$$python" --version 2>&1 || true)." \
	    "Name one: make setup PYTHON=/path/to/python3.11" >&2
	  exit 1
	}
	"$$python" -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	# The lock has the build tool too, so nothing more is fetched.
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

weights: setup ## Fetch the shipped weights alone
	@[ -e .git ] || $(BIN)/dvc config --quiet --local core.no_scm true  # an unpacked archive
	find weights -name '*.dvc' -print0 | xargs -0 --no-run-if-empty $(BIN)/dvc pull || {
	  echo "make weights: run \`make store\` to keep weights that you changed, or \`dvc pull --force\` to discard them." >&2
	  exit 1
	}

restore: weights ## Fetch the shipped weights, and the samples and caches of the demo (DVC, from dvc-remote/)
	@[ ! -e dvc.yaml ] || $(BIN)/dvc pull demo || {
	  echo "make restore: \`dvc pull --force\` discards products that you made anew." >&2
	  exit 1
	}
	$(BIN)/python workflow/scripts/adopt_records.py

# The stored products carry a digest of the code that made them: an edit of any module behind them makes them stale,
# for every clone, and Snakemake says so. Before a release: `make reproduce store`, then commit what is staged.
# DVC only stores. It gets one frozen stage that names files; `dvc repro` would run everything as one job.
store: setup ## Store changed weights and the demo's finished products: DVC copies them to its remote, git gets the rest
	@find weights -name '*.safetensors' -print0 | xargs -0 --no-run-if-empty $(BIN)/dvc add
	mkdir -p .snakemake
	$(BIN)/snakemake --summary > .snakemake/summary.tsv
	$(BIN)/python workflow/scripts/store_products.py --summary .snakemake/summary.tsv --command "snakemake --cores all"
	$(BIN)/dvc commit --force demo
	$(BIN)/dvc push
	git add dvc.yaml dvc.lock weights dvc-remote results
	echo "Now run \`git commit\`: pointers, records and contents are staged."

verify: setup ## Check every stored file against its recorded digest
	@$(BIN)/python workflow/scripts/verify.py

define show
echo
$(BIN)/python workflow/scripts/show_table.py $(TABLE) --accuracy $(ACCURACY)
echo
echo "Figure: $(CURDIR)/$(FIGURE).png"
endef

demo: weights ## Redraw the FID table and the attribute figure from the stored samples, and show them
	@[ ! -e dvc.yaml ] || $(BIN)/dvc pull demo ||
	  echo "make demo: goes on with products that you made anew; \`dvc pull --force\` discards them." >&2
	$(BIN)/snakemake --cores all --forcerun make_tables draw_attributes_figure -- $(TABLE) $(FIGURE).png
	$(show)

reproduce: weights ## Recompute all of it from the shipped weights, and compare with the committed tables
	@exec 9> .venv/.reproduce.lock  # snakemake inherits it: the lock outlives a killed make
	flock --nonblock 9 || { echo "make reproduce: already running in this folder." >&2; exit 1; }
	mkdir -p $(BEFORE)
	if [ ! -e $(BEFORE)/started ]; then  # a killed one goes on
	  for table in $(TABLE) $(ACCURACY); do
	    git show HEAD:$$table > $(BEFORE)/$${table##*/} 2> /dev/null || cp $$table $(BEFORE)/
	  done
	  $(BIN)/snakemake --summary > $(BEFORE)/summary.tsv
	  $(BIN)/python workflow/scripts/forget_units.py --summary $(BEFORE)/summary.tsv --checkpoints checkpoints/samples
	  $(BIN)/snakemake --cores 1 --delete-all-output
	  touch $(BEFORE)/started
	fi
	$(BIN)/snakemake --cores all
	$(show)
	echo
	$(BIN)/python workflow/scripts/compare_tables.py --before $(BEFORE)/$(notdir $(TABLE)) $(BEFORE)/$(notdir $(ACCURACY)) \
	  --after $(TABLE) $(ACCURACY)
	rm -r $(BEFORE)

test: export OMP_NUM_THREADS := 1
test: weights lint ## Lint, then run all tests in two processes
	@$(BIN)/python -m pytest -n 2 --dist worksteal

robustness: setup ## Interrupt a small run at 120 random moments and compare every byte (about 10 minutes)
	@$(BIN)/python tests/robustness.py

determinism: setup ## Make all products of a small run in 13 ways and compare one SHA-256 (about 15 minutes)
	@$(BIN)/python tests/determinism.py

overhead: setup ## Say how much of the last run was start-up and Snakemake (after make reproduce; two minutes)
	@$(BIN)/python tests/overhead.py --cores "$$(nproc)" --output results/overhead.csv

benchmarks: setup ## Gather time, memory and forward passes of the jobs that ran here into one table
	@$(BIN)/python workflow/scripts/gather_benchmarks.py --output $(BENCHMARKS)

estimate: setup ## Say how long what is left of a target takes, even while it runs: make estimate TARGET=table2
	@plan=$$($(BIN)/snakemake --dry-run --nolock --cores all $(TARGET) 2>&1) || { echo "$$plan" >&2; exit 1; }
	$(BIN)/python workflow/scripts/estimate_time.py --table $(BENCHMARKS) --cores "$$(nproc)" <<< "$$plan"

lint: setup ## Check style, types and workflow
	@$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

# No prerequisites: it records .venv as it is, after a deliberate upgrade.
lock: ## Write requirements.lock from the current .venv
	@{
	  sed '/^[^#]/,$$d' requirements.lock
	  $(BIN)/python -m pip freeze --all --exclude-editable |
	    grep -Ev '^(pip|wheel|triton|nvidia-[^=]*|cuda-[^=]*)==|^#|^-e | @ file:'
	} > .venv/requirements.lock
	mv .venv/requirements.lock requirements.lock

report: setup ## Write results/report.html: the results with captions, code and run times
	@echo "Of what was restored, or is only in git, Snakemake knows no run times."
	$(BIN)/snakemake --report results/report.html -- all segmentation table2 2> >(grep -v "^Missing metadata for file" >&2)

docs: setup ## Write config/README.md, config/schema.json and the README's results from model and tables
	@$(BIN)/python workflow/scripts/write_documents.py
	section() { $(BIN)/python workflow/scripts/write_readme.py --section "$$1" --layout "$$2" --tables "$${@:3}"; }
	section results distances $(TABLE) $(ACCURACY)
	section faces distances $(FACES)_fid.csv $(FACES)_accuracy.csv
	section masks masks results/tables/segmentation.csv
	section face_masks masks results/tables/celebamask64_segmentation.csv
	section classes accuracies results/tables/tiny_imagenet_accuracy.csv results/tables/acceptance.csv

clean: ## Remove caches, and temporary files that killed jobs left more than a day ago; keeps every result
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find workflow tests -name __pycache__ -type d -prune -exec rm -rf {} +
	for folder in results checkpoints weights; do
	  [ ! -d $$folder ] || find $$folder -name '.*' ! -name .gitignore -mtime +0 -prune -exec rm -rf {} +
	done
