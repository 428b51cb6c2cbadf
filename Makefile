# The only entry: every task of this repository is a target here, and does its work in scripts/.
.DEFAULT_GOAL := help
.PHONY: help demo dev test test-godot test-unity test-fdb crash simulate fuzz lint bench bench-store bench-engine bench-matchmaking bench-edge bench-godot soak image

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Set up what is missing, run the whole line on this machine with bots, print a summary
	@scripts/demo.sh

dev: ## Build and run everything in one process, state in ./.muster
	@scripts/dev.sh

test: ## Run every test: unit, integration on real Docker, end to end, Godot, Unity
	@scripts/test.sh

test-godot: ## Test the Godot addon, and run Godot games through the whole line
	@scripts/test-godot.sh

test-unity: ## Compile and test the Unity package on Mono
	@scripts/test-unity.sh

test-fdb: ## Run the store's suite and the end-to-end tests on a FoundationDB cluster: CLUSTER_FILE=...
	@scripts/test-fdb.sh "$(CLUSTER_FILE)"

crash: ## Kill processes at random under load: KILLS=100 SEED=n STORE=fdb:FILE
	@scripts/crash.sh "$(KILLS)" "$(SEED)" "$(STORE)"

simulate: ## Simulate the engine's life, and an installation's, from many seeds: SEEDS=1000
	@scripts/simulate.sh "$(SEEDS)"

fuzz: ## Fuzz every parser of edge and tunnel for a minute each: SECONDS=60 TARGET=name
	@scripts/fuzz.sh "$(or $(SECONDS),60)" "$(TARGET)"

lint: ## Check formatting, clippy, shell scripts and the repository's own rules
	@scripts/lint.sh

bench: ## Run every benchmark, write target/bench/*.json
	@scripts/bench.sh

bench-store: ## Run the store's benchmark alone
	@scripts/bench.sh store

bench-engine: ## Run the durable engine's benchmark alone
	@scripts/bench.sh engine

bench-matchmaking: ## Run the benchmark of matchmaking alone
	@scripts/bench.sh matchmaking

bench-edge: ## Run the edge's benchmark alone, beside nginx and quilkin; needs root
	@scripts/bench.sh edge

bench-godot: ## Measure the Godot addon: round trips beside plain ENet, and how soon players are back
	@scripts/bench-godot.sh

soak: ## Play through the edge at a steady load for an hour, or SECONDS=n; needs root
	@scripts/soak.sh $(or $(SECONDS),3600)

image: ## Build the example game server's container image
	@scripts/setup.sh toolchain docker
	@scripts/image.sh
