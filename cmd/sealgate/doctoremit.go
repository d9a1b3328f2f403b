package main

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// emitters are what --emit takes.
func emitters() map[string]func([]clientfiles.Endpoint) []clientfiles.File {
	return map[string]func([]clientfiles.Endpoint) []clientfiles.File{
		"docker":     clientfiles.Docker,
		"containerd": clientfiles.Containerd,
		"podman":     clientfiles.Podman,
		"kubernetes": clientfiles.Kubernetes,
		"dns":        clientfiles.DNS,
	}
}

func emitted() []string { return slices.Sorted(maps.Keys(emitters())) }

// emit prints or writes the configuration of clients for proxy.yaml.
func emit(ctx context.Context, stdout io.Writer, f *doctorFlags) error {
	cfg, err := loadConfig(f.config)
	if err != nil {
		return err
	}
	endpoints, notes, err := endpoints(ctx, cfg, f)
	if err != nil {
		return err
	}
	files := append(notes, emitters()[f.emit](endpoints)...)
	if f.out == "" {
		return clientfiles.Print(stdout, files)
	}
	return writeFiles(stdout, f.out, files)
}

// endpoints are the registries of cfg and where clients find Sealgate for each;
// notes are what has to be said beforehand.
func endpoints(ctx context.Context, cfg *config.Config, f *doctorFlags) (all []clientfiles.Endpoint, notes []clientfiles.File, err error) {
	ca, notes, err := authorityFor(cfg, f.caFile)
	if err != nil {
		return nil, nil, err
	}
	for _, reg := range cfg.Registries {
		if f.registry != "" && reg.Name != f.registry {
			continue
		}
		address, err := addressFor(cfg, reg, f)
		if err != nil {
			return nil, nil, err
		}
		if note := anotherPort(cfg, address, ownName(reg)); note != "" {
			notes = append(notes, clientfiles.File{Says: []string{reg.Name + ": " + note}})
		}
		e := clientfiles.Endpoint{Registry: reg.Name, Address: address, Plain: cfg.TLS.PlainHTTP != nil && !cfg.TLS.PlainHTTP.BehindTLSProxy, CA: ca}
		if f.emit == "dns" || f.emit == "kubernetes" {
			if e.Addresses, err = addressesOf(ctx, address, f.ips); err != nil {
				return nil, nil, err
			}
		}
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil, nil, usage("--registry %q: no registry of that name is configured", f.registry)
	}
	return all, notes, nil
}

// anotherPort says that clients of a registry's own name come to another port than
// the one listened on; it is empty where they do not, or a TLS proxy is in between.
func anotherPort(cfg *config.Config, address, own string) string {
	_, listens, err := net.SplitHostPort(cfg.Listen)
	if behind := cfg.TLS.PlainHTTP; address != own || err != nil || listens == "0" || behind != nil && behind.BehindTLSProxy {
		return ""
	}
	port := "443"
	if _, typed, err := net.SplitHostPort(own); err == nil {
		port = typed
	}
	if port == listens {
		return ""
	}
	return "clients come to port " + port + " of " + hostPart(own) + ", and proxy.yaml has Sealgate listen on " + listens + ": lead the one to the other, or change listen."
}

// authorityFor is the CA that clients have to be told: that of the file, or the
// one of tls.self-signed. Nil where clients are taken to know it; what is to be
// said of that comes back, too.
func authorityFor(cfg *config.Config, file string) ([]byte, []clientfiles.File, error) {
	if file != "" {
		text, err := certificatesOnly(file)
		if err != nil {
			return nil, nil, usage("--ca-file: %w", err)
		}
		return text, nil, nil
	}
	if cfg.TLS.SelfSigned == nil {
		return nil, []clientfiles.File{{Says: []string{"Clients are taken to trust the certificate of Sealgate; where they do not, name its CA with --ca-file."}}}, nil
	}
	kept := filepath.Join(cfg.StateDir, caFile)
	if _, err := os.Stat(kept); errors.Is(err, os.ErrNotExist) {
		return nil, []clientfiles.File{{Says: []string{
			"The CA of tls.self-signed is made when sealgate serve first starts, and is not in " + cfg.StateDir + " yet:",
			"what follows lacks it. Start sealgate serve, and run this again.",
		}}}, nil
	}
	text, err := certificatesOnly(kept)
	if err != nil {
		return nil, nil, fmt.Errorf("the CA of tls.self-signed (run this as the user that Sealgate runs as): %w", err)
	}
	return text, nil, nil
}

// certificatesOnly is the PEM of the authorities in a file, without whatever else
// is in it: a private key, say.
func certificatesOnly(file string) ([]byte, error) {
	authorities, err := config.LoadCAs(file)
	if err != nil {
		return nil, err
	}
	var text []byte
	for _, ca := range authorities {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})...)
	}
	return text, nil
}

// addressFor is where clients reach Sealgate for reg.
func addressFor(cfg *config.Config, reg config.Registry, f *doctorFlags) (string, error) {
	given := f.address
	if given != "" && !addressForm.MatchString(given) {
		return "", usage("--address %q: host or host:port is expected, in lower case", given)
	}
	if given != "" && answers(reg, given, f.emit) {
		return given, nil
	}
	own := ownName(reg)
	if own != "" && (given != "" || reg.Name != clientfiles.Hub || f.emit == "dns") {
		return own, nil
	}
	if given != "" {
		return "", usage("--address %s: Sealgate has no answer for that Host: add %q to hosts of %s", given, hostPart(given), reg.Name)
	}
	_, port, err := net.SplitHostPort(cfg.Listen)
	for _, host := range candidates(cfg, reg, f.emit) {
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return host, nil // with its port
		}
		if err != nil || port == "0" {
			continue
		}
		if port == "443" {
			return host, nil
		}
		return net.JoinHostPort(host, port), nil
	}
	if own != "" {
		return own, nil
	}
	return "", usage("at which address clients reach Sealgate for %s cannot be told from hosts, tls and listen: give --address host:port", reg.Name)
}

var addressForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$`)

// hostPart is the host of host or host:port.
func hostPart(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}

// answers is whether Sealgate takes a request with that Host for one of reg. Only
// containerd says in ?ns= which registry it means.
func answers(reg config.Registry, address, emit string) bool {
	hosts := reg.Hosts
	if emit == "containerd" || emit == "kubernetes" {
		hosts = slices.Concat(hosts, reg.MirrorHosts)
	}
	return slices.ContainsFunc(hosts, func(h string) bool {
		return h == config.AnyHost || h == address || h == hostPart(address)
	})
}

// ownName is the name in references under which Sealgate stands; empty where it
// stands under none.
func ownName(reg config.Registry) string {
	names := []string{reg.Name}
	if reg.Name == clientfiles.Hub {
		names = clientfiles.HubHosts
	}
	for _, name := range names {
		if slices.Contains(reg.Hosts, name) || slices.Contains(reg.Hosts, hostPart(name)) {
			return name
		}
	}
	return ""
}

// candidates are the hosts at which clients may reach Sealgate, the best first: a
// loopback address only where there is nothing better.
func candidates(cfg *config.Config, reg config.Registry, emit string) []string {
	all := slices.Concat(reg.Hosts, reg.MirrorHosts)
	if slices.Contains(reg.Hosts, config.AnyHost) {
		switch {
		case cfg.TLS.SelfSigned != nil:
			all = append(all, cfg.TLS.SelfSigned.Hosts...)
		case cfg.TLS.ACME != nil:
			all = append(all, cfg.TLS.ACME.Domains...)
		}
		for _, pair := range cfg.TLS.Files {
			if chain, err := config.LoadCertificates(pair.Cert); err == nil {
				all = append(all, chain[0].DNSNames...)
			}
		}
	}
	all = slices.DeleteFunc(all, func(h string) bool {
		return h == config.AnyHost || strings.HasPrefix(h, "*") || h == reg.Name || slices.Contains(clientfiles.HubHosts, h) || !answers(reg, h, emit)
	})
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(loopback(a), loopback(b)) })
	return all
}

// loopback is 1 for this machine's own address, 0 for others.
func loopback(host string) int {
	if ip := net.ParseIP(hostPart(host)); hostPart(host) == "localhost" || ip != nil && ip.IsLoopback() {
		return 1
	}
	return 0
}

// addressesOf are the IP addresses given, or those that the address has.
func addressesOf(ctx context.Context, address string, given []string) ([]netip.Addr, error) {
	var all []netip.Addr
	for _, text := range given {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.Zone() != "" {
			return nil, usage("--ip %q is not an IP address", text)
		}
		all = append(all, ip.Unmap())
	}
	host := hostPart(address)
	if ip, err := netip.ParseAddr(host); len(all) == 0 && err == nil {
		all = append(all, ip.Unmap())
	}
	if len(all) > 0 {
		return all, nil
	}
	if slices.Contains(clientfiles.HubHosts, host) {
		return nil, usage("the IP addresses of Sealgate cannot be told: %s is not its own name: give --ip", host)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, usage("the IP addresses of %s cannot be told, give --ip: %w", host, err)
	}
	for _, ip := range found {
		all = append(all, ip.Unmap())
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

// writeFiles writes the files below dir, laid out as on a client's host, with the
// home directories as "home", and says what it wrote.
func writeFiles(stdout io.Writer, dir string, files []clientfiles.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		if f.Path == "" {
			if err := clientfiles.Print(stdout, []clientfiles.File{f}); err != nil {
				return err
			}
			continue
		}
		path := filepath.FromSlash(strings.TrimPrefix(strings.Replace(f.Path, "~", "/home", 1), "/"))
		if err := root.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := root.WriteFile(path, []byte(f.Contents()), 0o644); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stdout, "%s: %s\n", filepath.Join(dir, path), strings.Join(f.Says, " ")); err != nil {
			return err
		}
	}
	return nil
}
