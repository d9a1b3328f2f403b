package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rs/zerolog"
	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/spf13/cobra"
)

func inspectCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect REPO[:TAG]",
		Short: "Show what is signed in a repository, or why a tag is visible or hidden",
		Long: `Show the trust view of a repository as Sealgate sees it: signed tags, digests,
roles, signers, expiries, what the gate's storage remembers and, of a tag, what
its cache has. It asks Notary now, and the registry not at all, and changes
nothing; a running gate may be up to "refresh" behind. While Notary gives no
answer it shows what was kept, as a gate would use it; of an offline registry it
shows what was loaded, and how old that is. Run it as the user that Sealgate
runs as.

Root keys are shown in the forms that pins want: the root key ID for root-keys,
the certificate ID for cert-ids, and who issued the certificate (ca).

REPO is the full name (registry.example.com/app), or without the registry's name
where the configuration has only one registry. Where it has docker.io, an image
of Docker Hub has its short name too (alpine).

Exit codes: 0 the tag is visible (without a TAG: there is trust data), 1 it is
hidden (there is none, or no pin), 3 it cannot be known, 2 bad usage.`,
		Args: oneReference("REPO[:TAG]"),
	}
	path := configFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		registry, gun, tag, err := parseInspect(cfg, args[0])
		if err != nil {
			return err
		}
		cfg.ContentTrust.Refresh = time.Second // what was kept is not enough: Notary is asked now
		m, err := openReadOnly(cfg)
		if err != nil {
			return failed(err)
		}
		made, err := newLasting(zerolog.Nop(), m)
		if err != nil {
			return err
		}
		p, err := made.assemble(cfg, nil) // the report says what went wrong
		if err != nil {
			return failed(err)
		}
		defer p.close()
		report := inspect(cmd.Context(), p.registries[registry], gun, tag)
		report.apply(policies(cfg.ContentTrust, func(p config.Policy) *config.Policy { return &p })(gun))
		report.signatureTag(cfg.Registries[registry])
		report.cached(cmd.Context(), cfg, cfg.Registries[registry])
		if *asJSON {
			enc := json.NewEncoder(stdout)
			enc.SetIndent("", "  ")
			err = enc.Encode(report)
		} else {
			err = report.print(stdout)
		}
		if err != nil {
			return failed(err)
		}
		if code := report.exitCode(); code != 0 {
			return &exitError{code: code}
		}
		return nil
	}
	return cmd
}

// parseInspect finds the registry (its index) and the GUN that arg means.
func parseInspect(cfg *config.Config, arg string) (registry int, gun, tag string, err error) {
	arg = fullName(cfg, arg)
	name := arg
	if i := strings.LastIndexByte(arg, ':'); i > strings.LastIndexByte(arg, '/') {
		name, tag = arg[:i], arg[i+1:]
		if tag == "" {
			return 0, "", "", usage("%q: a tag is expected after the colon", arg)
		}
	}
	if strings.Contains(arg, "@") || name == "" {
		return 0, "", "", usage("%q: REPO or REPO:TAG is expected", arg)
	}
	repository, found := name, false
	for i, reg := range cfg.Registries {
		if rest, ok := strings.CutPrefix(name, reg.Name+"/"); ok {
			registry, repository, found = i, rest, true
		}
	}
	if !found && len(cfg.Registries) > 1 {
		return 0, "", "", usage("%q: begin with the name of one of the configured registries", arg)
	}
	if first, _, more := strings.Cut(repository, "/"); !found && more && (strings.ContainsAny(first, ".:") || first == "localhost") {
		return 0, "", "", usage("%q: no registry %q is configured (there is %s)", arg, first, cfg.Registries[0].Name)
	}
	route, err := proxy.Parse("/v2/" + repository + "/manifests/" + cmp.Or(tag, "latest"))
	if err != nil || route.Kind != proxy.ManifestByTag {
		return 0, "", "", usage("%q is not a repository, with a tag or without", arg)
	}
	return registry, cfg.Registries[registry].Name + "/" + repository, tag, nil
}

// The report's JSON is for scripts; fields are only ever added.
type inspectReport struct {
	GUN      string           `json:"gun"`
	Mode     string           `json:"mode"`
	Policy   string           `json:"policy,omitempty"` // its match
	Signers  []string         `json:"required_signers,omitempty"`
	Exempt   []string         `json:"exempt_tags,omitempty"`
	Error    string           `json:"error,omitempty"`
	Cause    string           `json:"cause,omitempty"` // what a client is not told
	Expires  *time.Time       `json:"expires,omitempty"`
	First    string           `json:"expires_first,omitempty"`
	Roles    []inspectRole    `json:"roles,omitempty"`
	RootKeys []inspectRootKey `json:"root_keys,omitempty"` // of the verified root
	Stale    string           `json:"stale,omitempty"`     // why it is what was kept
	Kept     *inspectKept     `json:"kept,omitempty"`      // what is remembered
	Offline  *inspectOffline  `json:"offline,omitempty"`   // of a registry without servers
	Signed   []inspectTag     `json:"signed"`
	Hidden   []inspectTag     `json:"hidden,omitempty"`
	Offered  []inspectRootKey `json:"offered_not_verified,omitempty"`
	Tag      *inspectVerdict  `json:"tag,omitempty"`
	Cache    *inspectCache    `json:"cache,omitempty"` // what it has of a visible tag

	err error
}

type inspectRole struct {
	Role    string    `json:"role"`
	Version int       `json:"version,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	KeyIDs  []string  `json:"key_ids,omitempty"`
	Note    string    `json:"note,omitempty"`
}

// inspectKept is what the gate's storage remembers of a repository.
type inspectKept struct {
	LastContact time.Time      `json:"last_contact,omitzero"` // at most ten minutes late
	Floors      []inspectFloor `json:"floors"`
}

// inspectOffline is how long what was loaded is served.
type inspectOffline struct {
	Grace string    `json:"grace"`
	Role  string    `json:"first_expired,omitempty"` // the role that expired first, if any did
	Since time.Time `json:"expired,omitzero"`
}

type inspectFloor struct {
	Role    string   `json:"role"`
	Version int      `json:"version"`
	Signers []string `json:"signers"`
}

type inspectTag struct {
	Tag     string   `json:"tag"`
	Digest  string   `json:"digest,omitempty"`
	Role    string   `json:"role,omitempty"`
	Signers []string `json:"signers,omitempty"`
	Why     string   `json:"why,omitempty"`
}

// inspectRootKey is a root key in the forms that pins want.
type inspectRootKey struct {
	KeyID   string    `json:"key_id"`         // for root-keys
	CertID  string    `json:"certificate_id"` // for cert-ids
	Subject string    `json:"subject"`
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
}

// inspectVerdict is about the one tag asked for.
type inspectVerdict struct {
	inspectTag
	Verdict string `json:"verdict"` // visible, hidden or unknown
}

func inspect(ctx context.Context, reg registryParts, gun, tag string) *inspectReport {
	report := &inspectReport{GUN: gun, Signed: []inspectTag{}}
	var view trustcache.View
	if reg.trust == nil {
		report.err = fmt.Errorf("%w: no notary is configured for %s", trustcache.ErrUnreachable, reg.name)
	} else {
		report.keep(reg.source) // before this look adds to it
		if view, report.err = reg.trust.Tag(ctx, gun, tag); report.err == nil {
			report.describe(view)
			report.verifiedRoot(reg.source)
		}
		report.age(reg, view)
	}
	decision := proxy.Decide(gun, tag, view, report.err)
	if report.err != nil {
		report.Error = decision.Denial.Message
		if cause := trustcache.Cause(report.err); cause != nil {
			report.Cause = cause.Error()
		}
	}
	if errors.Is(report.err, trustcache.ErrUnpinned) || errors.Is(report.err, trustcache.ErrMalicious) {
		report.offer(ctx, reg.source)
	}
	if tag != "" {
		report.judge(tag, decision)
	}
	return report
}

// keep says what is remembered; what cannot be read is the answer's error.
func (r *inspectReport) keep(source *notary.Source) {
	state, contact, err := source.Kept(r.GUN)
	if err != nil || state == nil {
		return
	}
	r.Kept = &inspectKept{LastContact: contact, Floors: []inspectFloor{}}
	for _, role := range slices.Sorted(maps.Keys(state.Floors)) {
		for _, f := range state.Floors[role] {
			r.Kept.Floors = append(r.Kept.Floors, inspectFloor{Role: role, Version: f.Version, Signers: f.Signers})
		}
	}
}

func (r *inspectReport) describe(view trustcache.View) {
	if view.Stale != nil {
		r.Stale = view.Stale.Error()
	}
	expires, first := view.Expires()
	r.Expires, r.First = &expires, first
	for _, e := range view.Evidence() {
		r.Roles = append(r.Roles, inspectRole{Role: e.Role, Version: e.Version, Expires: e.Expires, KeyIDs: e.KeyIDs, Note: e.Note})
	}
	for i := range view.Len() {
		r.Signed = append(r.Signed, newInspectTag(view.At(i)))
	}
	for _, t := range view.Unusable() {
		r.Hidden = append(r.Hidden, inspectTag{Tag: t.Tag, Role: t.Role, Why: "its signed entry has no sha256 digest"})
	}
	for _, h := range view.Hidden() {
		r.Hidden = append(r.Hidden, inspectTag{Tag: h.Tag, Signers: h.Roles, Why: h.Why()})
	}
}

// age says of a registry without servers how far what was loaded is past its
// expiry.
func (r *inspectReport) age(reg registryParts, view trustcache.View) {
	if reg.offline == nil {
		return
	}
	r.Offline = &inspectOffline{Grace: reg.offline.Grace.String()}
	if view.Snapshot == nil {
		return
	}
	if role, at := view.FirstExpiry(); !reg.now().Before(at) {
		r.Offline.Role, r.Offline.Since = role, at
	}
}

// apply says what else the policy of the repository makes of it.
func (r *inspectReport) apply(p *config.Policy) {
	r.Mode, r.Policy, r.Signers, r.Exempt = string(p.Mode), p.Match, p.RequiredSigners, p.ExemptTags
	if r.Tag != nil && (&proxy.Policy{Exempt: p.ExemptTags}).Exempts(r.Tag.Tag) {
		r.Tag = &inspectVerdict{Verdict: "visible", inspectTag: inspectTag{Tag: r.Tag.Tag, Why: "exempt: trust is not consulted for it, and the registry's own is served"}}
	}
}

// signatureTag says what becomes of a signature tag where they pass, unless its
// policy has said more.
func (r *inspectReport) signatureTag(reg config.Registry) {
	if r.Tag == nil || r.Mode != string(config.Enforced) || reg.SignatureTags != config.SignatureTagsPass || !proxy.IsSignatureTag(r.Tag.Tag) {
		return
	}
	if (&proxy.Policy{Exempt: r.Exempt}).Exempts(r.Tag.Tag) {
		return
	}
	r.Tag = &inspectVerdict{Verdict: "unknown", inspectTag: inspectTag{Tag: r.Tag.Tag, Why: "signature-tags is pass: the registry's own is served while nothing that could be run is in it, and the registry is not asked here"}}
}

// verifiedRoot shows the keys that signed the root. What was verified is still
// stored a moment later; where it is not, there is nothing to show.
func (r *inspectReport) verifiedRoot(source *notary.Source) {
	if keys, err := source.Verified(r.GUN); err == nil {
		r.RootKeys = newInspectRootKeys(keys)
	}
}

// offer shows the keys that the server offers, for a human to compare; none
// where there is nothing to compare with.
func (r *inspectReport) offer(ctx context.Context, source *notary.Source) {
	if keys, err := source.Offered(ctx, r.GUN); err == nil {
		r.Offered = newInspectRootKeys(keys)
	}
}

func newInspectRootKeys(keys []notary.RootKey) (list []inspectRootKey) {
	for _, k := range keys {
		list = append(list, inspectRootKey(k))
	}
	return list
}

// judge says what the gate makes of the tag, in mode enforced.
func (r *inspectReport) judge(tag string, d proxy.Decision) {
	r.Tag = &inspectVerdict{Verdict: "hidden", inspectTag: inspectTag{Tag: tag}}
	switch {
	case d.Denial == nil:
		r.Tag.Verdict = "visible"
		r.Tag.inspectTag = newInspectTag(d.Target)
		return
	case d.Denial.Status == http.StatusServiceUnavailable:
		r.Tag.Verdict = "unknown"
	}
	r.Tag.Why = d.Denial.Message
	for _, t := range r.Hidden {
		if t.Tag == tag {
			r.Tag.inspectTag = t
		}
	}
}

func newInspectTag(t trustcache.Target) inspectTag {
	return inspectTag{Tag: t.Tag, Digest: t.Digest.String(), Role: t.Role, Signers: t.Signers}
}

func (r *inspectReport) exitCode() int {
	switch {
	case r.Tag != nil && r.Tag.Verdict == "visible":
		return 0
	case r.Tag != nil && r.Tag.Verdict == "unknown", r.err != nil && !trustcache.Absent(r.err):
		return exitUnknown
	case r.err != nil, r.Tag != nil && r.Tag.Verdict != "visible":
		return exitFailed
	}
	return 0
}

func (r *inspectReport) print(w io.Writer) error {
	if r.Policy != "" {
		fmt.Fprintf(w, "Policy %s", r.Policy)
		if len(r.Signers) > 0 {
			fmt.Fprintf(w, ", required signers: %s", strings.Join(r.Signers, ", "))
		}
		if len(r.Exempt) > 0 {
			fmt.Fprintf(w, ", exempt tags: %s", strings.Join(r.Exempt, ", "))
		}
		fmt.Fprint(w, "\n\n")
	}
	if r.Mode != string(config.Enforced) {
		fmt.Fprintf(w, "Mode is %s: the registry's own tags pass. In mode enforced:\n\n", r.Mode)
	}
	if r.Tag != nil {
		fmt.Fprintf(w, "%s:%s is %s", r.GUN, r.Tag.Tag, strings.ToUpper(r.Tag.Verdict))
		if r.Tag.Digest != "" && r.Tag.Verdict == "visible" {
			fmt.Fprintf(w, "\n  digest   %s\n  role     %s\n  signers  %s\n", r.Tag.Digest, r.Tag.Role, strings.Join(r.Tag.Signers, ", "))
			if r.Cache != nil {
				r.Cache.print(w, r.Offline != nil)
			}
		} else {
			fmt.Fprintf(w, ": %s\n", r.Tag.Why)
		}
	} else {
		fmt.Fprintf(w, "%s\n", r.GUN)
		if r.Error != "" {
			fmt.Fprintf(w, "  %s\n", r.Error)
		}
	}
	if r.Cause != "" {
		fmt.Fprintf(w, "  because: %s\n", r.Cause)
	}
	if r.Stale != "" {
		fmt.Fprintf(w, "  STALE, as it was kept: %s\n", r.Stale)
	}
	r.printOffered(w)
	r.printAge(w)
	if r.Tag == nil {
		r.printKept(w)
	}
	if r.Tag != nil || r.Expires == nil {
		return nil
	}
	fmt.Fprintf(w, "  stands until %s (%s)\n\n", r.Expires.UTC().Format(time.RFC3339), r.First)
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "TAG\tDIGEST\tROLE\tSIGNERS")
	for _, t := range r.Signed {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", t.Tag, t.Digest, t.Role, strings.Join(t.Signers, ", "))
	}
	for _, t := range r.Hidden {
		fmt.Fprintf(tw, "%s\tHIDDEN: %s\t\t\n", t.Tag, t.Why)
	}
	fmt.Fprintln(tw, "\nROLE\tVERSION\tEXPIRES\tSIGNED BY")
	for _, role := range r.Roles {
		if role.Note != "" {
			fmt.Fprintf(tw, "%s\t\t\tNOT USED: %s\n", role.Role, role.Note)
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\n", role.Role, role.Version, role.Expires.UTC().Format(time.RFC3339), strings.Join(role.KeyIDs, ", "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nROOT SIGNED WITH, as pins name it:")
	printRootKeys(w, "  ", r.RootKeys)
	return nil
}

func (r *inspectReport) printAge(w io.Writer) {
	if r.Offline == nil {
		return
	}
	fmt.Fprintf(w, "  offline, with a grace of %s", r.Offline.Grace)
	if r.Offline.Role != "" {
		fmt.Fprintf(w, ": %s expired at %s", r.Offline.Role, r.Offline.Since.UTC().Format(time.RFC3339))
	}
	fmt.Fprintln(w)
}

// printKept says below which versions nothing is accepted.
func (r *inspectReport) printKept(w io.Writer) {
	if r.Kept == nil {
		return
	}
	if !r.Kept.LastContact.IsZero() {
		what := "last good answer from Notary"
		if r.Offline != nil {
			what = "loaded"
		}
		fmt.Fprintf(w, "  %s: %s\n", what, r.Kept.LastContact.UTC().Format(time.RFC3339))
	}
	fmt.Fprint(w, "  lowest versions accepted:")
	for i, f := range r.Kept.Floors {
		fmt.Fprintf(w, "%s %s %d", strings.Repeat(",", min(i, 1)), f.Role, f.Version)
	}
	fmt.Fprintln(w)
}

func (r *inspectReport) printOffered(w io.Writer) {
	if len(r.Offered) == 0 {
		return
	}
	fmt.Fprintln(w, "\n  OFFERED, NOT VERIFIED (anybody between here and the publisher could have made these up):")
	printRootKeys(w, "    ", r.Offered)
}

func printRootKeys(w io.Writer, indent string, keys []inspectRootKey) {
	for _, k := range keys {
		fmt.Fprintf(w, "%sroot key %s (root-keys)\n", indent, k.KeyID)
		fmt.Fprintf(w, "%s  certificate %s (cert-ids)\n", indent, k.CertID)
		fmt.Fprintf(w, "%s  for %q, issued by %q, until %s\n", indent, k.Subject, k.Issuer, k.Expires.UTC().Format(time.DateOnly))
	}
}
