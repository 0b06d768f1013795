# Two commands are enough: `make demo` and `make test`. Both make .venv themselves.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
# Cargo shares out the cores by itself. It would take part in make's own sharing, and complain where it cannot.
ALONE := MAKEFLAGS=
OLD_POLARS := 1.20.0 1.41.2
OLD_DUCKDB := 1.4.4 1.5.6
OLD_DATAFUSION := 54.1.0
DUCKDB_CLI := 1.5.6

# Stamps: each is made again only when what it was made from has changed.
DEMO := .venv/.demo
DEV := .venv/.dev
PEERS := .venv/peers/.done
WHEEL := .venv/.wheel
EXTENSION := .venv/.extension
UPSTREAM := .venv/upstream/.done
ENGINES := $(OLD_POLARS:%=.venv/engines/polars-%/.done) $(OLD_DUCKDB:%=.venv/engines/duckdb-%/.done) \
	$(OLD_DATAFUSION:%=.venv/engines/datafusion-%/.done) \
	.venv/engines/duckdb-cli-$(DUCKDB_CLI)/.done
SOURCES := pyproject.toml README.md $(wildcard Cargo.*) $(shell find rust python -type f \
	\( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name '*.sql' -o -name py.typed \) 2>/dev/null)
EXTENSION_SOURCES := tools/duckdb_extension.py sql/duckdb/extension.sql $(wildcard Cargo.*) $(shell find rust/core rust/duckdb \
	-type f \( -name '*.rs' -o -name '*.toml' -o -name '*.txt' \) 2>/dev/null)

.PHONY: help demo test crates installed build lint test-rust test-neon test-python engines bench bench-smoke \
	bench-peers bench-kernels fmt clean $(OLD_POLARS:%=engine-polars-%) $(OLD_DUCKDB:%=engine-duckdb-%) $(OLD_DATAFUSION:%=engine-datafusion-%)

help: ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 14

demo: $(WHEEL) ## find neighbours of real text with Polars, and draw recall against speed
	$(BIN)/python examples/quickstart/main.py

# What compiles runs side by side. The Python tests have the machine to themselves: some of them look at the clock.
test: $(DEV) ## everything that must pass
	$(MAKE) --no-print-directory -j2 --output-sync=line crates installed
	$(MAKE) --no-print-directory test-python

crates:
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory test-rust

installed: $(WHEEL) $(ENGINES) $(UPSTREAM)

build: $(WHEEL) ## build the wheel into dist/ and install it into .venv

lint: $(DEV) ## formats, lints, types, and what the crates link
	cargo fmt --all --check
	$(ALONE) cargo clippy --workspace --all-targets -- -D warnings
	$(ALONE) RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
	$(BIN)/python tools/check_crates.py
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/basedpyright

test-rust: ## the tests of the crates
	$(ALONE) cargo test --workspace
	$(ALONE) cargo test --workspace --bench kernels -- --smoke

test-neon: ## the tests of the kernels on aarch64, by an emulator (tools/test_neon.sh says what it needs)
	tools/test_neon.sh

test-python: $(DEV) $(WHEEL) $(ENGINES) $(UPSTREAM) ## the tests of the wheel, each engine, each example, its size and import time
	$(BIN)/python -m pytest
	$(MAKE) --no-print-directory -j2 --output-sync=target engines
	for example in examples/*/main.py; do echo "$$example"; $(BIN)/python -W error "$$example"; done
	$(MAKE) --no-print-directory bench-smoke
	$(BIN)/python tools/check_wheel.py

# Two at a time: none of them keeps two cores busy.
engines: $(OLD_POLARS:%=engine-polars-%) $(OLD_DUCKDB:%=engine-duckdb-%) $(OLD_DATAFUSION:%=engine-datafusion-%)

$(OLD_POLARS:%=engine-polars-%): engine-polars-%:
	PYTHONPATH=.venv/engines/polars-$* POLARS_EXPECTED=$* \
		$(BIN)/python -m pytest -p no:cacheprovider tests/python/test_polars*.py

$(OLD_DUCKDB:%=engine-duckdb-%): engine-duckdb-%:
	PYTHONPATH=.venv/engines/duckdb-$* DUCKDB_EXPECTED=$* \
		$(BIN)/python -m pytest -p no:cacheprovider tests/python/test_duckdb*.py tests/sql tests/doors

$(OLD_DATAFUSION:%=engine-datafusion-%): engine-datafusion-%:
	PYTHONPATH=.venv/engines/datafusion-$* DATAFUSION_EXPECTED=$* \
		$(BIN)/python -m pytest -p no:cacheprovider tests/python/test_datafusion*.py tests/sql tests/doors

bench: $(DEV) $(WHEEL) ## recall and queries per second over the examples, beside numpy and what else is installed
	$(BIN)/python -m benches.peers

bench-smoke: $(WHEEL) ## every bench for a moment: shows that they run; the figures mean nothing
	for bench in peers growth builds filters updates sql lake flight; do \
		$(BIN)/python -m benches.$$bench --smoke --out build/bench-smoke/$$bench.json; \
	done
	$(BIN)/python -m benches.presets --smoke
	$(BIN)/python -m benches.peers.report build/bench-smoke --pictures build/bench-smoke >/dev/null

# What is measured can be chosen: make bench-peers BENCH_DATA="gmm path/to/folder" BENCH_PEERS=ruvector,hnswlib
BENCH_DATA := examples gmm
BENCH_PEERS :=
BENCH_GROWTH := ruvector,hnswlib,faiss-ivf-pqfs
BENCH_OUT := build/bench

bench-peers: $(PEERS) ## all benches beside all peers, into BENCHMARKS.md: hours, on a machine that does nothing else
	mkdir -p $(BENCH_OUT)
	cargo bench -p ruvector-core --bench kernels >$(BENCH_OUT)/kernels.txt
	for data in $(BENCH_DATA); do \
		.venv/peers/bin/python -m benches.peers --data "$$data" $(if $(BENCH_PEERS),--peers $(BENCH_PEERS)) \
			--out "$(BENCH_OUT)/peers-$$(basename "$$data" .parquet | tr ':,' '--').json"; \
	done
	.venv/peers/bin/python -m benches.growth --peers $(BENCH_GROWTH) --out $(BENCH_OUT)/growth.json
	.venv/peers/bin/python -m benches.builds --out $(BENCH_OUT)/builds.json
	.venv/peers/bin/python -m benches.filters --out $(BENCH_OUT)/filters.json
	.venv/peers/bin/python -m benches.updates --out $(BENCH_OUT)/updates.json
	.venv/peers/bin/python -m benches.sql --out $(BENCH_OUT)/sql.json
	.venv/peers/bin/python -m benches.lake --out $(BENCH_OUT)/lake.json
	.venv/peers/bin/python -m benches.flight --out $(BENCH_OUT)/flight.json
	.venv/peers/bin/python -m benches.peers.report $(BENCH_OUT) --write BENCHMARKS.md

bench-kernels: ## the loops everything waits for, on each SIMD level
	cargo bench -p ruvector-core --bench kernels

fmt: $(DEV) ## format everything
	cargo fmt --all
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

clean: ## remove everything that was made
	rm -rf .venv build dist target

$(DEMO): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet pip==26.3
	$(BIN)/python -m pip install --quiet --group demo
	touch $@

$(DEV): $(DEMO)
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# RUVECTOR_DUCKDB_KEY=FOLDER signs it (tools/duckdb_extension.py). The wheel carries what lies in the package.
$(EXTENSION): $(DEMO) $(EXTENSION_SOURCES)
	$(ALONE) $(BIN)/python tools/duckdb_extension.py build
	touch $@

$(WHEEL): $(DEMO) $(SOURCES) $(EXTENSION)
	rm -f dist/ruvector_arrow-*.whl
	$(ALONE) $(BIN)/maturin build --release --out dist --interpreter $(BIN)/python
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/ruvector_arrow-*.whl
	touch $@

# The package whose files we read and write. It has our import name: an environment of its own keeps the two apart.
$(UPSTREAM): $(DEMO)
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --no-deps ruvector==0.1.4 numpy==2.4.6
	touch $@

$(PEERS): $(WHEEL) pyproject.toml
	test -x .venv/peers/bin/python || $(BIN)/python -m venv .venv/peers
	.venv/peers/bin/python -m pip install --quiet pip==26.3
	.venv/peers/bin/python -m pip install --quiet --group peers
	.venv/peers/bin/python -m pip install --quiet --force-reinstall --no-deps dist/ruvector_arrow-*.whl
	touch $@

.venv/engines/datafusion-%/.done: $(DEMO)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --no-deps --target $(@D) datafusion==$*
	touch $@

.venv/engines/polars-%/.done: $(DEMO)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --target $(@D) polars==$*
	touch $@

.venv/engines/duckdb-cli-%/.done: $(DEMO)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --target $(@D) duckdb-cli==$*
	touch $@

.venv/engines/duckdb-%/.done: $(DEMO)
	rm -rf $(@D)
	$(BIN)/python -m pip install --quiet --target $(@D) duckdb==$*
	touch $@
