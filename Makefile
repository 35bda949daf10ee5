# What people and CI call. Every target says what it needs; nothing is
# installed outside this directory unless a target says so.

CARGO ?= cargo
# Seconds for each target of `make fuzz`; power cuts, kills, rounds of faults, kills over
# PostgreSQL, pairs of first reports, and kills of agents and their servers of `make soak`.
SECONDS_EACH ?= 60
POWER_CUTS ?= 1000
KILLS ?= 200
FAULT_ROUNDS ?= 10
POSTGRES_KILLS ?= 100
PAIRS ?= 1000000
AGENT_KILLS ?= 100

# Tools that `make prepare` had to build.
export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: run test demo lint bench fuzz soak prepare docs static deb image help

help:
	@echo 'make run    build and serve on 127.0.0.1:8686, SQLite in ./fingerpost-data'
	@echo 'make test   install what the tests need, run everything'
	@echo 'make demo   a farm whose server is killed, stalled and slowed; about a minute'
	@echo 'make lint   format, clippy, documentation, house rules, dependencies'
	@echo 'make bench  the figures of docs/performance.md'
	@echo 'make fuzz   the decoders guided by coverage, SECONDS_EACH=$(SECONDS_EACH)'
	@echo 'make static a program that needs no library; make deb a Debian package, make image a'
	@echo '            container image, both in target/dist'
	@echo 'make soak   POWER_CUTS=$(POWER_CUTS) and KILLS=$(KILLS) under reports, FAULT_ROUNDS=$(FAULT_ROUNDS) under clones,'
	@echo '            every decoder for a minute, an answer of 2 GiB; POSTGRES_KILLS=$(POSTGRES_KILLS) over'
	@echo '            PostgreSQL, PAIRS=$(PAIRS) first reports of one output over four instances;'
	@echo '            AGENT_KILLS=$(AGENT_KILLS) of agents and their server'

run:
	@scripts/need cc
	@$(CARGO) build --release --package fingerpost
	@exec $(CARGO) run --quiet --release --package fingerpost -- serve

demo:
	@scripts/need cc
	@$(CARGO) build --release --package fingerpost
	@exec $(CARGO) run --quiet --release --package fingerpost -- demo

prepare:
	@scripts/prepare

# The peers come first: the runner's closing line is the last one.
test: prepare
	$(CARGO) nextest run --workspace --no-run
	tests/peers/run
	tests/peers/run --database postgresql
	tests/peers/hg/run
	tests/peers/bitbake/run
	tests/peers/schema/run
	tests/peers/prometheus/run
	tests/deploy/run
	$(CARGO) nextest run --workspace --features fingerpost/otlp -E 'package(fingerpost) & test(traces::)'
	$(CARGO) nextest run --workspace

# Private items are documented too, so links to them are fine.
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- --deny warnings
	$(CARGO) clippy --workspace --all-targets --features fingerpost/otlp -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private-intra-doc-links' $(CARGO) doc --workspace --no-deps --document-private-items --quiet
	$(CARGO) xtask tidy
	$(CARGO) xtask dependencies

bench: prepare
	benches/table

fuzz:
	fuzz/run $(SECONDS_EACH)

soak: prepare
	FINGERPOST_POWER_CUTS=$(POWER_CUTS) FINGERPOST_KILLS=$(KILLS) FINGERPOST_FUZZ_SECONDS=60 FINGERPOST_ORDER_CASES=5000 \
	    FINGERPOST_FAULT_ROUNDS=$(FAULT_ROUNDS) FINGERPOST_REDIRECTED_CLONES=50 FINGERPOST_ANSWER_MIB=2048 FINGERPOST_FLIPPED_ROUNDS=2000 FINGERPOST_RESTARTS=100 FINGERPOST_FARM_TASKS=25000 \
	    FINGERPOST_POSTGRES_KILLS=$(POSTGRES_KILLS) FINGERPOST_PAIRS=$(PAIRS) \
	    $(CARGO) nextest run --workspace --profile soak --success-output final \
	    -E 'test(durability::) | test(fuzz::) | test(order::) | test(store_faults::) | test(store_limits::) | test(eviction::) | test(long_answer::) | test(flipped::) | test(restarting::) | test(a_farm_on) | test(instances::)'
	FINGERPOST_AGENT_KILLS=$(AGENT_KILLS) tests/peers/run kills_of_agent

static:
	@scripts/static dist

deb:
	@scripts/need cc
	@$(CARGO) build --profile dist --package fingerpost --package fingerpost-agent
	@scripts/deb target/dist/fingerpost target/dist

image:
	@mkdir -p target/dist
	@program=$$(scripts/static dist) && scripts/image "$$program" target/dist/fingerpost-image.tar

# Generated pages; a test says when they are stale.
docs:
	$(CARGO) run --quiet --package fingerpost -- docs annotated-file > fingerpost.toml
	$(CARGO) run --quiet --package fingerpost -- docs commands > docs/commands.md
	$(CARGO) run --quiet --package fingerpost -- docs hg-commands > docs/hg-commands.md
	$(CARGO) run --quiet --package fingerpost -- docs configuration > docs/configuration.md
	$(CARGO) run --quiet --package fingerpost -- docs open-api > docs/openapi.json
