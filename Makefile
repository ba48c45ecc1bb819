# Holdfast on one machine: `make demo` shows it, `make test` proves it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

TOOLS := .tools/venv/bin
# Only for `sam validate`, which asks for a region and calls nothing.
export AWS_DEFAULT_REGION ?= eu-central-1
export SAM_CLI_TELEMETRY := 0

# The demo and the tests take unoptimized programs, built of what the Rust tests and the lints are built of, and nothing twice; to link
# five programs as they deploy takes many minutes. `sam build` by itself makes what deploys.
PROFILE = $(or $(HOLDFAST_PROFILE),dev)
# The folder of a profile's programs below target/.
programs = target/$(if $(filter dev,$(1)),debug,$(1))

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: ## Put the tools in place (.tools/venv, and Debian packages that are missing)
	@local/install.sh

.PHONY: layer
layer: install ## Build the database tools that go along with the worker (.tools/layer, .tools/layer.zip; once)
	@python3 layer/build.py

.PHONY: build
build: layer ## Build the functions and the CLI (target/debug/holdfast), unoptimized, to be tried here
	@HOLDFAST_PROFILE=$(PROFILE) $(TOOLS)/sam build --build-dir .aws-sam/$(PROFILE)

.PHONY: up
up: build ## Start the local stack, deploy to it, print its endpoints
	@$(TOOLS)/python local/stack.py up

.PHONY: down
down: ## Stop the local stack
	@$(TOOLS)/python local/stack.py down

.PHONY: status
status: ## Say what of the local stack runs, and where
	@$(TOOLS)/python local/stack.py status

.PHONY: demo
demo: build ## Back up a real Django site on the local stack, and check what was stored
	@$(TOOLS)/python demo/demo.py

.PHONY: test
test: build ## Run all tests
	cargo test --workspace --locked --no-run
	$(TOOLS)/python tests/side_by_side.py

HISTORIES := 100000
FIRST := 0

.PHONY: simulate
simulate: export HOLDFAST_PROFILE := release
simulate: ## Play histories of the use cases in which everything goes wrong (HISTORIES=100000 FIRST=0)
	cargo build --profile $(PROFILE) --workspace --locked --example simulate
	$(call programs,$(PROFILE))/examples/simulate $(HISTORIES) $(FIRST)

.PHONY: chaos
chaos: build ## Break jobs by SEEDS=50 seeds, and audit what is left (FLAGS="--first 1000", "--seed 17", …)
	$(TOOLS)/python tests/chaos/run.py --seeds $(or $(SEEDS),50) $(FLAGS)

.PHONY: load
load: build ## Back up APPLICATIONS=500 that are due in one tick (FLAGS="--throttled 0.05", …)
	$(TOOLS)/python tests/chaos/load.py --applications $(or $(APPLICATIONS),500) $(FLAGS)

.PHONY: lint
lint: rules ## Check the format, the lints, the template and the rules of the architecture
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: rules
rules: install ## The same but for the lints, for whom compiling checks these already
	cargo fmt --all --check
	$(TOOLS)/ruff check --quiet
	$(TOOLS)/cfn-lint --template template.yaml --regions eu-central-1 us-east-1
	$(TOOLS)/sam validate --lint
	$(TOOLS)/python checks/template.py
	$(TOOLS)/python checks/dependencies.py
	$(TOOLS)/python checks/licences.py

bench bench-dump bench-restore bench-media bench-media-files: export HOLDFAST_PROFILE := release

.PHONY: bench
bench: build ## Time the retention planner on 1,000,000 records, and measure the memory of the worker and of a manifest
	cargo run --profile $(PROFILE) --locked --package holdfast-domain --example plan_million
	cargo run --profile $(PROFILE) --locked --package holdfast-archive --example manifest_million
	$(TOOLS)/python bench/worker_memory.py

.PHONY: bench-dump
bench-dump: install ## Time `holdfast dump` beside pg_dump, on four kinds of data (FLAGS="--sets big --to file", …)
	cargo build --profile $(PROFILE) --workspace --bins --locked
	cargo build --profile $(PROFILE) --workspace --locked --features holdfast-aws/bench --examples
	$(TOOLS)/python bench/dump.py $(FLAGS)

.PHONY: bench-restore
bench-restore: install ## Time `holdfast restore` beside pg_restore, on three kinds of data (FLAGS="--mib 256 --rounds 1", …)
	cargo build --profile $(PROFILE) --workspace --bins --locked
	$(TOOLS)/python bench/restore.py $(FLAGS)

.PHONY: bench-media
bench-media: install ## Time a media archive beside `aws s3 sync`, `tar` and `aws s3 cp` (FLAGS="--scale 0.1 --runs 1", …)
	cargo build --profile $(PROFILE) --workspace --locked --features holdfast-aws/bench --examples
	$(TOOLS)/python bench/media.py $(FLAGS)

.PHONY: bench-media-files
bench-media-files: build ## Time a page and one file of a 10 GiB archive on the local stack
	cargo build --profile $(PROFILE) --workspace --locked --features holdfast-aws/bench --examples
	$(TOOLS)/python bench/media_files.py $(FLAGS)

.PHONY: clean
clean: ## Remove what was built and the state of a stopped local stack
	@if [ -x $(TOOLS)/python ]; then $(TOOLS)/python local/stack.py down; fi
	rm -rf .aws-sam .stack target

# What `sam build` calls, once for each function, in the source tree. Cargo has nothing to do from the second one on.
DEPLOYED := $(or $(HOLDFAST_PROFILE),release)

define function
.PHONY: build-$(1)
build-$(1):
	cargo build --profile $(DEPLOYED) --workspace --bins --locked
	python3 checks/glibc.py $(call programs,$(DEPLOYED))/$(2)
	install -m 755 $(call programs,$(DEPLOYED))/$(2) "$$(ARTIFACTS_DIR)/bootstrap"
endef

$(eval $(call function,ApiFunction,holdfast-api))
$(eval $(call function,SchedulerFunction,holdfast-scheduler))
$(eval $(call function,WorkerFunction,holdfast-worker))
$(eval $(call function,RestoreFunction,holdfast-worker))
$(eval $(call function,RetentionFunction,holdfast-retention))

.PHONY: build-DatabaseToolsLayer
build-DatabaseToolsLayer:
	python3 layer/build.py
	$(if $(filter release,$(DEPLOYED)),python3 checks/database_tools.py .tools/layer)
	cp -a .tools/layer/. "$(ARTIFACTS_DIR)"
