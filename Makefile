# `make` lists the targets. `make test` is what CI runs.

# Every tool is pinned; go run fetches and caches it.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := v1.8.0
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0

# How long each target of `make fuzz-short` and `make fuzz` runs.
FUZZSHORT := 3s
FUZZLONG  := 10m

LOG := .cache/log
export CGO_ENABLED := 1# the race detector needs it

.PHONY: help build setup lint vuln unit fuzz-short fuzz kill bucket e2e clients screenshots docs reliability soak bench bench-smoke release release-check image-check demo test clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  \1\t/' | expand -t 15

build: ## build bin/sealgate
	CGO_ENABLED=0 go build -trimpath -o bin/sealgate ./cmd/sealgate
	@bin/sealgate version

setup: ## install what the end-to-end suite drives, where it is missing (needs root then)
	@.ci/setup

# Every check is on but ST1020, ST1021 and ST1022, which want a comment to begin
# with the name that it documents: ours say what a caller may rely on, in whatever
# sentence does so.
CHECKS := all,-ST1020,-ST1021,-ST1022

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not formatted by gofmt:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) -checks $(CHECKS) ./...
	@echo "gofmt, go vet, staticcheck: nothing to complain about"

vuln: ## govulncheck; says NOT RUN where its database cannot be reached
	@.ci/vuln $(GOVULNCHECK)

# They begin first, so that no processor waits for the last of them.
SLOWEST := ./cmd/sealgate ./trustcache/notary ./proxy

unit: | $(LOG) ## every test but the end-to-end suite, with the race detector
	go run $(GOTESTSUM) --format pkgname --jsonfile $(LOG)/unit.json -- -race -vet=off -timeout 10m \
		$$({ go list $(SLOWEST); go list ./... | grep -v '/e2e$$'; } | awk '!seen[$$0]++')

fuzz-short: | $(LOG) ## every fuzz target for some seconds
	@.ci/fuzz $(FUZZSHORT)

fuzz: | $(LOG) ## every fuzz target for long; not part of `make test`
	@.ci/fuzz $(FUZZLONG)

kill: ## kill -9 at random points of 1,000 writes of trust state, of content, and of a server's cache; a few are in `make unit` and `make e2e`
	SEALGATE_KILL_CYCLES=1000 go test -count 1 -v -run 'Kill' -timeout 60m ./trustcache/state ./proxy/content
	SEALGATE_KILL_CYCLES=1000 go test -count 1 -v -run '^TestKilledWhileTheCacheIsWritten$$' -timeout 60m ./e2e

bucket: ## all tests of trust state and content, on a real S3 server (some minutes); most are in `make e2e`
	SEALGATE_BUCKET_LONG=1 go test -count 1 -v -timeout 10m -run 'OnAnS3Server' ./e2e

e2e: | $(LOG) ## the built binary with real clients, registry, Notary and dockerd (needs `make setup` and root)
	go run $(GOTESTSUM) --format testname --jsonfile $(LOG)/e2e.json -- -count 1 -vet=off -parallel 3 -timeout 20m ./e2e

clients: ## write the tables of docs/clients.md, from what the clients do
	E2E_CLIENTS_MD=1 go test -count 1 -timeout 10m -run '^TestClientMatrix$$' ./e2e

reliability: ## write the table of docs/reliability.md, from what the faults do (an idle machine, some minutes)
	E2E_RELIABILITY_MD=1 E2E_SOAK=1m go test -count 1 -v -timeout 30m ./e2e

soak: ## load for five minutes (E2E_SOAK says how long) while everything around it fails by turns; seconds of it are in `make e2e`
	E2E_SOAK=$${E2E_SOAK:-5m} go test -count 1 -v -timeout 0 -run '^TestSoak$$' ./e2e

docs: ## write docs/configuration.md, from the comments of the configuration's types
	CONFIG_MD=1 go test -count 1 -run '^TestTheReferenceIsWhatTheCommentsSay$$' ./config

screenshots: ## take the pictures of the README, in docs/images
	@mkdir -p docs/images
	E2E_SCREENSHOTS=$(CURDIR)/docs/images go test -count 1 -timeout 10m -run '^TestTheStatusPageInABrowser$$' ./e2e

bench: ## beside nginx, net/http and docker-registry; writes docs/performance.md (an idle machine, ten minutes)
	@.ci/setup bench
	CGO_ENABLED=0 go build -o bin/bench ./e2e/bench
	bin/bench

bench-smoke: ## the same in a minute, to see that it works; writes nothing
	@.ci/setup bench
	CGO_ENABLED=0 go build -o bin/bench ./e2e/bench
	bin/bench -short

release: ## what is published of VERSION (default: git describe), into dist/; the same each time
	go run ./deploy/release $(if $(VERSION),-version $(VERSION)) -out dist

release-check: ## make a release twice, from two directories, the second time with an empty build cache, and compare; lintian (some minutes). With one cache, in `make e2e`
	@.ci/setup release
	SEALGATE_RELEASE_LONG=1 go test -count 1 -v -timeout 60m -run '^TestReleaseIsTheSame' ./e2e
	go run ./deploy/release -version v0.0.0 -out .cache/release
	lintian --allow-root --fail-on error,warning .cache/release/*.deb

image-check: ## build the Dockerfile with the Go of this machine, and pull through it (some minutes); without compiling, in `make e2e`
	SEALGATE_IMAGE_LONG=1 go test -count 1 -v -timeout 30m -run '^TestDockerfile' ./e2e

demo: ## sealgate demo: a registry, a Notary and the proxy in one process
	go run ./cmd/sealgate demo

# In this order so that the quickest to fail comes first. The end-to-end suite
# waits more than it computes: fuzzing has the processors that it leaves idle.
test: ## everything, each step timed; stops at the first that fails
	@rm -rf $(LOG)
	@.ci/step setup
	@.ci/step build
	@.ci/step lint
	@.ci/step vuln
	@.ci/step unit
	@nice -n 19 .ci/step fuzz-short >$(LOG)/fuzz.step 2>&1 & fuzzing=$$!; \
	.ci/step e2e; tested=$$?; \
	wait $$fuzzing; fuzzed=$$?; cat $(LOG)/fuzz.step; [ $$tested = 0 ] && [ $$fuzzed = 0 ]
	@.ci/step --table

clean: ## remove what the targets above have left here
	rm -rf bin dist .cache

$(LOG):
	@mkdir -p $@
