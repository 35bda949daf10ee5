# What people and CI call. Every target says what it needs; nothing is
# installed outside this directory unless a target says so.

CARGO ?= cargo
# Minutes of `make soak`, seconds of each target of `make fuzz`.
MINUTES ?= 30
SECONDS_EACH ?= 60

# Tools that `make prepare` had to build.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: run test demo lint bench fuzz soak prepare docs help

help:
	@echo 'make run    build and serve on 127.0.0.1:8686, SQLite in ./fingerpost-data'
	@echo 'make test   install what the tests need, run everything'
	@echo 'make demo   two builders share a result; a minute at most'
	@echo 'make lint   format, clippy, documentation, house rules, dependencies'
	@echo 'make bench  the figures of docs/performance.md'
	@echo 'make fuzz   coverage-guided fuzzing, SECONDS_EACH=$(SECONDS_EACH) for each target'
	@echo 'make soak   crashes and load for MINUTES=$(MINUTES)'

run:
	@scripts/need cc
	@$(CARGO) build --quiet --release --package fingerpost
	@exec $(CARGO) run --quiet --release --package fingerpost -- serve

demo:
	@scripts/need cc
	@$(CARGO) build --quiet --release --package fingerpost
	@exec $(CARGO) run --quiet --release --package fingerpost -- demo

prepare:
	@scripts/prepare

# The peers come first: the runner's closing line is the last one.
test: prepare
	$(CARGO) nextest run --workspace --no-run
	tests/peers/run
	$(CARGO) nextest run --workspace

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	$(CARGO) xtask tidy
	$(CARGO) xtask dependencies

# Generated pages; a test says when they are stale.
docs:
	$(CARGO) run --quiet --package fingerpost -- docs annotated-file > fingerpost.toml
	$(CARGO) run --quiet --package fingerpost -- docs commands > docs/commands.md
	$(CARGO) run --quiet --package fingerpost -- docs configuration > docs/configuration.md
