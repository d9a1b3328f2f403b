package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/e2e/sandbox"
	"github.com/sealgate/sealgate/trustcache/guard"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// demoRefresh keeps the story short: a revocation is seen after this long.
const demoRefresh = time.Second

func demoCommand(logs *logFlags, stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a signed tag being pulled and an unsigned one not existing",
		Long: `Start a registry, a trust server and the gate in this process, on free ports of
127.0.0.1; publish a few images, some signed and some not; pull them all through
the gate and show what a client gets. Then serve until interrupted, to be tried
with real clients. Nothing is needed beside this binary, and nothing is left.`,
		Args: cobra.NoArgs,
	}
	once := cmd.Flags().Bool("once", false, "perform the story and end: 0 when everything was as it must be, else 1")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		byDefault := "warn"
		if cmd.Flags().Changed("log-level") {
			byDefault = logs.level
		}
		log, err := (&logFlags{format: logs.format, level: byDefault}).logger(stderr, "console")
		if err != nil {
			return err
		}
		return failed(demo(cmd.Context(), *once, stdout, log))
	}
	return cmd
}

// demo performs the story and, unless once, serves until ctx ends.
func demo(ctx context.Context, once bool, stdout io.Writer, log zerolog.Logger) (err error) {
	dir, err := os.MkdirTemp("", "sealgate-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The gate's address is the registry's name, as for a gate that stands at
	// the registry's own host name: so it has to be known before signing.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	ca, err := sandbox.NewCA()
	if err != nil {
		return err
	}
	story, err := sandbox.NewStory(ctx, ca, listener.Addr().String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, story.Close()) }()
	yaml, err := demoYAML(dir, ca, story)
	if err != nil {
		return err
	}
	cfg, err := config.Parse("demo.yaml", []byte(yaml), dir)
	if err != nil {
		return err
	}
	inst, err := newInstance(cfg, log)
	if err != nil {
		return err
	}
	defer inst.close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	side, err := openOperatorSide(config.Admin{Listen: "127.0.0.1:0"}, inst, func() error { return inst.ready(ctx) }, nil)
	if err != nil {
		return err
	}
	defer side.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) { defer guard.Catch(&err); return side.run(ctx) })
	group.Go(func() (err error) { defer guard.Catch(&err); return runServer(ctx, listener, inst) })
	group.Go(func() (err error) {
		defer guard.Catch(&err)
		err = perform(ctx, story, dir, stdout)
		if once || err != nil {
			stop()
			return err
		}
		fmt.Fprintf(stdout, tryIt, story.Name, filepath.Join(dir, caFile), side.listeners[0].Addr())
		return nil
	})
	return group.Wait()
}

// demoYAML is the configuration that a user would write; the CA of its servers
// is written beside it.
func demoYAML(dir string, ca *sandbox.CA, story *sandbox.Story) (string, error) {
	if err := os.WriteFile(filepath.Join(dir, "servers-ca.pem"), ca.PEM(), 0o600); err != nil {
		return "", err
	}
	return fmt.Sprintf(`
listen: %[1]s
tls: {self-signed: {hosts: [127.0.0.1, localhost]}}
state-dir: .
registries:
  - name: %[1]q
    hosts: [127.0.0.1, localhost]
    upstream: %[2]s
    upstream-ca-file: servers-ca.pem
    notary: {url: %[3]q, ca-file: servers-ca.pem}
content-trust:
  mode: enforced
  refresh: %[4]s
  trust-pinning:
    root-keys: {%[5]q: [%[6]s]}
`, story.Name, story.Registry.URL(), story.Trust.URL(), demoRefresh, story.Name+"/demo/*", story.RootKey), nil
}

// errStory: the gate did something that it must not.
var errStory = errors.New("the story did not go as it must: see the rows marked WRONG")

func perform(ctx context.Context, story *sandbox.Story, dir string, stdout io.Writer) error {
	pem, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	rows, err := story.Perform(ctx, "https://"+story.Name, pool, demoRefresh)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "A registry, a trust server and sealgate are running here. Through sealgate, at %s:\n\n", story.Name)
	tw := tabwriter.NewWriter(stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\tTAG\tIN THE REGISTRY\tSIGNED\tA CLIENT GETS\tWHY")
	right := true
	for _, row := range rows {
		mark := "ok"
		if !row.OK {
			mark, right = "WRONG", false
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", mark, short(row.Image), short(row.Upstream), short(row.Signed), short(row.Got), row.Why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if !right {
		return errStory
	}
	return nil
}

// short cuts the digest in a name to what tells digests apart.
func short(s string) string {
	if s == "" {
		return "-"
	}
	if i := strings.Index(s, "sha256:"); i >= 0 && len(s) >= i+len("sha256:")+12 {
		return s[:i+len("sha256:")+12]
	}
	return s
}

const tryIt = `
Its status page: http://%[3]s/

Try it (Ctrl-C ends it):

  curl --cacert %[2]s https://%[1]s/v2/demo/app/tags/list
  curl --cacert %[2]s https://%[1]s/v2/demo/app/manifests/nightly

  docker pull %[1]s/demo/app:1.0            # dockerd does not verify certificates on 127.0.0.1
  docker pull %[1]s/demo/app:nightly        # not found
  docker trust inspect --pretty %[1]s/demo/app    # after: install -D %[2]s ~/.docker/tls/%[1]s/ca.crt

  skopeo list-tags --tls-verify=false docker://%[1]s/demo/app
  skopeo inspect --tls-verify=false docker://%[1]s/demo/app:latest
`
