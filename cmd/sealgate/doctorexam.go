package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	clientfiles "github.com/sealgate/sealgate/config/clients"
	"github.com/sealgate/sealgate/proxy"
)

// patient is what is examined, as the flags say it.
type patient struct {
	gate            *url.URL
	registry        string
	repository, tag string   // of the canary
	origin          *url.URL // nil: not given
}

func (p patient) canary() string { return p.registry + "/" + p.repository + ":" + p.tag }

// parsePatient checks the flags.
func parsePatient(f *doctorFlags) (patient, error) {
	p := patient{registry: f.registry}
	var err error
	if p.gate, err = baseURL("--proxy", f.proxy); err != nil {
		return p, err
	}
	if f.origin != "" {
		if p.origin, err = baseURL("--origin", f.origin); err != nil {
			return p, err
		}
	}
	if !addressForm.MatchString(f.registry) {
		return p, usage("--registry %q: what stands first in references is expected, such as registry.example.com or docker.io", f.registry)
	}
	name := strings.TrimPrefix(f.canary, f.registry+"/")
	if p.repository, p.tag = splitTag(name); p.tag == "" || strings.Contains(name, "@") {
		return p, usage("--canary %q: REPO:TAG is expected", f.canary)
	}
	p.repository = proxy.Repository(f.registry, p.repository)
	route, err := proxy.Parse("/v2/" + p.repository + "/manifests/" + p.tag)
	if err != nil || route.Kind != proxy.ManifestByTag {
		return p, usage("--canary %q is not a repository with a tag", f.canary)
	}
	return p, nil
}

// baseURL reads the URL of a server.
func baseURL(flag, text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, usage("%s: a URL such as https://gate.example.com:8443 is expected", flag)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	if u.Scheme == "http" && u.Port() == "" {
		u.Host += ":80" // where none is given 443 is meant
	}
	return u, nil
}

// believing is a transport that trusts the system's authorities and those of file,
// where one is given.
func believing(file string) (*http.Transport, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if file != "" {
		text, err := certificatesOnly(file)
		if err != nil {
			return nil, usage("--ca-file: %w", err)
		}
		pool.AppendCertsFromPEM(text)
	}
	return &http.Transport{
		// The clients' own way: no proxy of this shell's environment is on it.
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
	}, nil
}

// examine says whether this host can be talked into an unsigned tag.
func examine(ctx context.Context, stdout io.Writer, f *doctorFlags) error {
	p, err := parsePatient(f)
	if err != nil {
		return err
	}
	transport, err := believing(f.caFile)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	root, closeRoot, err := openRoot(f.root)
	if err != nil {
		return usage("--root: %w", err)
	}
	defer closeRoot()
	ask := prober{transport}
	report := &diagnosis{Proxy: p.gate.String(), Registry: p.registry, Canary: p.canary()}
	gate := ask.gate(ctx, &p)
	if gate.refused() && !ask.isSealgate(ctx, p.gate) {
		gate.err = fmt.Errorf("what answers there is no Sealgate, and refuses it with status %d: name Sealgate with --proxy", gate.status)
	}
	report.gate(p, gate)
	fallback := report.origins(ctx, ask, p, gate)
	h := host{root: root, registry: p.registry, gate: p.gate.Host, fallback: fallback, report: report}
	h.examine()
	for _, client := range f.pulls {
		pullCanary(ctx, runCommand, report, client, p.canary())
	}
	if f.images && f.root == "/" && gate.err == nil {
		imageCheck{ask, p.gate, p.registry, report, map[string][]string{}}.all(ctx, runCommand)
	}
	if err := report.write(stdout, f.asJSON); err != nil {
		return err
	}
	if code := report.exitCode(); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// gate reports what Sealgate did with the canary.
func (d *diagnosis) gate(p patient, o outcome) {
	switch {
	case o.served():
		d.add(levelHole, "network", "", "Sealgate itself serves the canary %s, as %s: it is signed or exempt, or not enforced", p.canary(), o.digest)
	case o.status == http.StatusMisdirectedRequest:
		d.add(levelUnknown, "network", "", "whether Sealgate refuses the canary: %s is no address at which it has %s (status %d): name another with --proxy, or add it to hosts", p.gate.Host, p.registry, o.status)
	case o.undecided():
		d.add(levelUnknown, "network", "", "whether Sealgate at %s refuses the canary: %s", p.gate.Host, o)
	case p.gate.RawQuery != "":
		d.add(levelOK, "network", "", "Sealgate at %s refuses the canary, with status %d, to containerd, which names the registry there; other clients find none", p.gate.Host, o.status)
	default:
		d.add(levelOK, "network", "", "Sealgate at %s refuses the canary, with status %d", p.gate.Host, o.status)
	}
}

// origins asks the registry itself, at the name that clients fall back to and at
// --origin, and returns what the first came to.
func (d *diagnosis) origins(ctx context.Context, ask prober, p patient, gate outcome) origin {
	own := &url.URL{Scheme: "https", Host: clientfiles.Origin(p.registry)}
	found := d.originAt(own, p, ask.tag(ctx, own, p.repository, p.tag), gate)
	if p.origin != nil {
		d.originAt(p.origin, p, ask.tag(ctx, p.origin, p.repository, p.tag), gate)
	}
	return found
}

func (d *diagnosis) originAt(at *url.URL, p patient, o, gate outcome) origin {
	switch {
	case o.err != nil:
		d.add(levelOK, "network", "", "%s cannot be reached from this host: %v", at.Host, o.err)
		return originSilent
	case o.sameRefusal(gate):
		d.add(levelOK, "network", "", "%s leads to Sealgate", at.Host)
		return originSealgate
	case o.served() && clientfiles.SameHost(at.Host, p.gate.Host) && gate.served():
		return originSealgate // has been said
	case o.served():
		d.add(levelHole, "network", "", "%s serves the canary %s to this host, as %s", at.Host, p.canary(), o.digest)
	default:
		d.add(levelHole, "network", "", "%s answers this host (%s): whoever may pull there is not held by Sealgate", at.Host, o)
		if o.status == http.StatusNotFound {
			d.add(levelNote, "network", "", "the canary is not there: name a tag that is, for a proof")
		}
	}
	return originAnswers
}
