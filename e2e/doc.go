// Package e2e proves the built binary against the real parts: Debian's
// docker-registry, notary-server and dockerd on one side, docker, skopeo,
// podman, crane, regctl, cosign, oras and ctr on the other, all on loopback, or
// with the clients in a network namespace of the suite's, and in temporary
// directories.
//
// Every test is named for one behaviour. Most of them share one world, which
// scene_test.go describes; those that break something build their own. The
// files named for a part (registry_test.go, notary_test.go, dockerd_test.go, …)
// are the harness; the others hold the tests.
//
// Whatever the tests ask for, no registry that stands behind an enforcing
// Sealgate may ever see a manifest read by tag: TestMain reads the registries'
// own access logs at the end and fails the run if one did.
//
// A missing part is a failure, not a skip; `make setup` installs them all.
// `go test -short` leaves the package out.
//
// TestClientMatrix, in the files named for the matrix, takes every client through
// what clients do, and docs/clients.md has its tables from there.
//
// TestTheDocumentsCommandsRun types the commands of README.md and docs/ into a
// bash, on hosts made of namespaces; package pages has the rules for what is
// written there. With -v it shows all that is typed and written, and
// -run 'TestTheDocumentsCommandsRun/docs/cache.md' runs one page.
//
// Environment variables: E2E_SEALGATE names a binary to test instead of building
// one, E2E_KEEP=1 leaves the logs of a failed run where they are, and E2E_SEED
// repeats the steps of chance of a run, which says its seed. Others have tests
// write a document, or take longer; the Makefile sets them, in targets whose
// words say what for (clients, reliability, screenshots, soak, kill, bucket,
// release-check, image-check).
package e2e
