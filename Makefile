# What one does with this project. A Rust toolchain and a C++ compiler are all that is needed: what else the targets need,
# they install (scripts/setup.sh). Everything is built with the release profile, so that each finds what another has compiled.

CARGO ?= cargo
ONLY ?=

.PHONY: help demo setup test bench failover flushing peers soak sim sim-scale chaos-gcs hosts fuzz verify fix

help: ## Say what there is.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 16

demo: ## Train and serve a small digit recogniser on a cluster of three processes, one of which is killed half-way.
	$(CARGO) run --release -p digits

setup:
	@scripts/setup.sh

test: setup ## Every test, every example once, every bench once in its short form.
	@scripts/setup.sh network
	@CARGO="$(CARGO)" scripts/test.sh

bench: setup ## The bench table; ONLY=pattern picks rows, ALLOCATOR=system leaves mimalloc out.
	@scripts/setup.sh redis
	ONLY="$(ONLY)" $(CARGO) run --release -p actinic-bench $(if $(filter system,$(ALLOCATOR)),--no-default-features)

failover: setup ## What a client of the control store waits while its leader is killed, paused or cut off; writes failover.svg.
	$(CARGO) run --release -p actinic-bench -- --failover

flushing: setup ## Memory and disk of the control store under 50 million tasks; TASKS=n, REPLICAS=n; writes flushing.svg.
	$(CARGO) run --release -p actinic-bench -- --flushing --tasks $(or $(TASKS),50000000) --replicas $(or $(REPLICAS),1)

peers: setup ## Side by side with Ray on this machine; installs it in a folder of its own (see benches/peers/README.md).
	ONLY="$(ONLY)" benches/peers/run.sh

soak: setup ## Everything at once for ten minutes; FOR=seconds for another time.
	ACTINIC_SOAK_SECONDS=$(or $(FOR),600) $(CARGO) test --release --test soak -- --nocapture

sim: setup ## The replicated control store under 10,000 seeds of faults; SEEDS=n for others, SEED=x replays one.
	ACTINIC_SIM_SEEDS=$(or $(SEEDS),10000) ACTINIC_SIM_SEED=$(SEED) $(CARGO) test --release -p actinic-gcs --features suite \
		--test sim -- --nocapture

sim-scale: ## The schedulers in virtual time, as up to 1,000 nodes; NODES=n, SEED=x, SEEDS=n of random trouble; writes sim-scale-*.svg.
	$(CARGO) run --release -p actinic-scale -- --seed $(or $(SEED),1) --nodes $(or $(NODES),1000) --seeds $(or $(SEEDS),1000)

chaos-gcs: setup ## Replicas of the control store as processes, killed for a minute; FOR=seconds for another time, SEED=x for the same choices.
	ACTINIC_CHAOS_SECONDS=$(or $(FOR),60) ACTINIC_CHAOS_SEED=$(SEED) $(CARGO) test --release -p actinic-gcs-tests -- --nocapture

hosts: setup ## Clusters across network namespaces: cuts, lost packets, narrow and slow links. Needs root.
	@scripts/setup.sh network
	$(CARGO) test --release --test cluster_hosts -- --nocapture

# The fuzzers' own package is outside of the workspace; `make verify` checks its types, without libFuzzer, on any toolchain.
fuzz: setup ## Every decoder under any bytes for a minute; FOR=seconds for another time, DECODER=name for one of them.
	@CARGO="$(CARGO)" $(if $(DECODER),DECODER="$(DECODER)") scripts/fuzz.sh $(or $(FOR),60)

verify: setup ## All that a change must pass; changes nothing.
	@CARGO="$(CARGO)" scripts/verify.sh

fix: setup ## Format, and let clippy mend what it can.
	$(CARGO) fmt --all
	$(CARGO) clippy --fix --allow-dirty --allow-staged --release --workspace --all-targets
