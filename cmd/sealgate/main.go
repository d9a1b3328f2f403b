// Command sealgate is a TLS reverse proxy in front of a Docker/OCI registry
// that makes unsigned tags invisible.
//
//	sealgate serve    [--config proxy.yaml]             stand in front of the registries of the file
//	sealgate demo     [--once]                          registry, trust server and gate in one process; performs the story
//	sealgate check    [--config proxy.yaml]             every problem of the file, with line and key
//	sealgate inspect  [--config proxy.yaml] REPO[:TAG]  the trust view of a repository, or why a tag is visible or hidden
//	sealgate forget   [--config proxy.yaml] GUN         make the running server forget the trust data of a repository
//	sealgate cache    warm|unpin [--config proxy.yaml] REPO:TAG…  fetch signed tags ahead and keep them; let go of them
//	sealgate cache    pins [--config proxy.yaml]        which tags are kept so
//	sealgate doctor   [--config proxy.yaml] --emit KIND what clients need to pull through Sealgate
//	sealgate doctor   --proxy URL --registry NAME --canary IMAGE  on a client host: can it be talked into an unsigned tag?
//	sealgate bundle save [--config proxy.yaml] REPO:TAG… -o FILE.tar|DIR  signed images and their proof, for a site without a network
//	sealgate bundle load [--config proxy.yaml] FILE.tar|DIR  verify one with this site's own pins, and serve what is in it
//	sealgate report   AUDIT.LOG…                        which tags enforcing takes away, why, and from whom
//	sealgate version
//	sealgate completion bash|zsh|fish|powershell        what makes a shell complete all of this
//
// Every command takes --log-format json|console and --log-level. Exit codes: 0
// fine; 1 the operation failed, for inspect: the tag is hidden, for forget:
// nothing was remembered, for doctor: there is a hole; 2 bad usage or configuration;
// 3, for inspect and doctor: it cannot be known.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// Exit codes, as the package comment has them.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitUnknown = 3
)

// exitError is an error that chose its exit code. A nil err is not printed:
// what there is to say has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func run(args []string, stdout, stderr io.Writer) int {
	// The Notary library logs through logrus on standard error, in a format of
	// its own and with text from the trust server; what matters of it reaches
	// our log as errors.
	logrus.SetOutput(io.Discard)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends at once
	root := rootCommand(stdout, stderr)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintln(stderr, "sealgate:", exit.err)
		}
		return exit.code
	}
	fmt.Fprintf(stderr, "sealgate: %v\nRun '%s --help' for usage.\n", err, cmd.CommandPath())
	return exitUsage
}
