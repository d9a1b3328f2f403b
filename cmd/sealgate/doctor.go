package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// doctorFlags are those of both uses of the command.
type doctorFlags struct {
	// of --emit
	emit, config, address, out string
	ips                        []string
	// of the examination of a host
	proxy, canary, origin, root string
	pulls                       []string
	images, asJSON              bool
	// of both
	registry, caFile string
}

func doctorCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Write what clients need to pull through Sealgate, or say whether a host can be talked into an unsigned tag",
		Long: `With --emit, print the configuration of clients for this proxy.yaml, each piece
with the file that it belongs in and what it closes and does not; with --out,
write it below a directory, laid out as on the client's host.

Without, examine the host it runs on: read the configuration of dockerd,
containerd (also of k3s and rke2) and podman below --root, ask Sealgate (--proxy)
and the registry itself for the canary, a tag that exists upstream and is not
signed, and compare the images that are on the host with what is signed. Nothing
is changed, but with --pull, which has clients pull the canary and removes it
again.

Exit codes: 0 no hole was found, 1 there is one (each is named), 2 bad usage or
configuration, 3 it cannot be known.`,
		Example: `  sealgate doctor --config proxy.yaml --emit containerd --out files/
  sealgate doctor --proxy https://gate.example.com --registry docker.io --canary library/hello-world:nanoserver`,
		Args: noReference,
	}
	f := &doctorFlags{}
	flags := cmd.Flags()
	flags.StringVar(&f.emit, "emit", "", "what to print configuration for: "+strings.Join(emitted(), ", "))
	flags.StringVar(&f.config, "config", "proxy.yaml", "the configuration file (with --emit)")
	flags.StringVar(&f.address, "address", "", "where clients reach Sealgate, host or host:port (with --emit; default from hosts, tls and listen)")
	flags.StringSliceVar(&f.ips, "ip", nil, "its IP addresses, for dns and kubernetes (with --emit; default: looked up)")
	flags.StringVar(&f.out, "out", "", "the directory to write files below, instead of printing them (with --emit)")
	flags.StringVar(&f.proxy, "proxy", "", "the URL at which this host reaches Sealgate")
	flags.StringVar(&f.canary, "canary", "", "REPO:TAG that exists upstream and is not signed")
	flags.StringVar(&f.origin, "origin", "", "the URL of the registry behind Sealgate, which this host must not reach")
	flags.StringVar(&f.root, "root", "/", "where the host's files are")
	flags.StringSliceVar(&f.pulls, "pull", nil, "clients to pull the canary with: "+strings.Join(pullers(), ", "))
	flags.BoolVar(&f.images, "images", true, "compare local images with what is signed (with --root / only)")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	flags.StringVar(&f.registry, "registry", "", "the registry's name; with --emit: this one only")
	flags.StringVar(&f.caFile, "ca-file", "", "PEM of the CA of Sealgate's certificate (default: the system's; with --emit: that of tls.self-signed)")
	completes(cmd, "emit", emitted()...)
	completes(cmd, "pull", pullers()...)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(cmd); err != nil {
			return err
		}
		if f.emit != "" {
			return failed(emit(cmd.Context(), stdout, f))
		}
		return failed(examine(cmd.Context(), stdout, f))
	}
	return cmd
}

// check refuses flags that do not go together.
func (f *doctorFlags) check(cmd *cobra.Command) error {
	ofEmit := []string{"config", "address", "ip", "out"}
	ofHost := []string{"proxy", "canary", "origin", "root", "pull", "images", "json"}
	foreign, use := ofEmit, "without --emit"
	if f.emit != "" {
		foreign, use = ofHost, "with --emit"
	}
	for _, name := range foreign {
		if cmd.Flags().Changed(name) {
			return usage("--%s has no meaning %s", name, use)
		}
	}
	for _, client := range f.pulls {
		if !slices.Contains(pullers(), client) {
			return usage("--pull %q: one of %s is expected", client, strings.Join(pullers(), ", "))
		}
	}
	switch {
	case f.emit != "" && !slices.Contains(emitted(), f.emit):
		return usage("--emit %q: one of %s is expected", f.emit, strings.Join(emitted(), ", "))
	case f.emit != "":
		return nil
	case f.proxy == "" && f.registry == "" && f.canary == "":
		return usage("either --emit, or --proxy, --registry and --canary are needed")
	case f.proxy == "" || f.registry == "" || f.canary == "":
		return usage("--proxy, --registry and --canary go together")
	}
	return nil
}

// command runs a program of the host to its end and returns its standard output;
// exec.ErrNotFound where there is no such program.
type command func(ctx context.Context, argv ...string) (string, error)

// commandLimit is how long a client may take.
const commandLimit = 2 * time.Minute

func runCommand(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
	}
	return string(out), err
}

// lastLine is where programs say why they failed.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// openRoot is what the host's files are read from. Links lead out of no other root
// than "/", below which some are absolute.
func openRoot(dir string) (fs.FS, func() error, error) {
	if dir == "/" {
		return os.DirFS(dir), func() error { return nil }, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	return root.FS(), root.Close, nil
}

// readBounded reads a file of the host's configuration, which nobody writes by
// the megabyte.
func readBounded(root fs.FS, path string) ([]byte, error) {
	if info, err := fs.Stat(root, path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // to open a pipe would wait for a writer
		return nil, errors.New("is no regular file")
	}
	file, err := root.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	const most = 256 << 10
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("has more than %d bytes", most)
	}
	return text, err
}
