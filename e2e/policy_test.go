package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// policyWorld is a repository with several signers, each with keys of their own,
// appointed by docker trust, and a gate that has seen it before Notary's line was
// cut: whatever a policy makes of it, it makes of what is known.
//
//	team/app:v0     signed in targets alone
//	team/app:v1     signed by alice, qa and security
//	team/app:v2     signed by alice
//	team/app:v3     signed by alice and qa; targets has moved on to another digest
//	team/app:dev-1  never signed, and so dev-2
//	team/list:v1    signed in targets; v2 is not signed
type policyWorld struct {
	*world
	notary                            *line
	v0, v1, v2, v3, newer, dev1, dev2 pushed
	listed, unlisted                  pushed // team/list:v1 and v2
	qaKey, securityCert               string
}

func newPolicyWorld(t *testing.T) *policyWorld {
	t.Helper()
	p := &policyWorld{world: ownWorld(t, registryOptions{unfiltered: true})} // exempt tags are read by tag
	app := p.gun("team/app")
	p.mustBegin(t, "team/app")
	p.mustBegin(t, "team/list")
	if err := p.rotate(app, "snapshot", "-r"); err != nil { // so that signers need no key but their own
		t.Fatal(err)
	}
	for tag, image := range map[string]*pushed{"v0": &p.v0, "v1": &p.v1, "v2": &p.v2, "v3": &p.v3} {
		*image = p.mustSay(t, "team/app", tag, "words of "+tag)
		p.mustSign(t, "team/app", tag, *image)
	}
	p.listed, p.unlisted = p.mustSay(t, "team/list", "v1", "one"), p.mustSay(t, "team/list", "v2", "two")
	p.mustSign(t, "team/list", "v1", p.listed)
	p.dev1, p.dev2 = p.mustSay(t, "team/app", "dev-1", "of today"), p.mustSay(t, "team/app", "dev-2", "of tomorrow")

	alice, qa := p.appointSigner(t, app, "alice"), p.appointSigner(t, app, "qa")
	security, cert := p.appointCertified(t, app, "security")
	p.securityCert = cert
	if key := must(canonicalID(cert))(t); key != p.keyOf(t, app, "security", security) {
		t.Fatalf("the certificate's key is %s for us", key)
	}
	for _, said := range []struct {
		by   *publisher
		tags []string
	}{{alice, []string{"v1", "v2", "v3"}}, {qa, []string{"v1", "v3"}}, {security, []string{"v1"}}} {
		for _, tag := range said.tags {
			if _, err := said.by.docker("sign", app+":"+tag); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.newer = p.mustSay(t, "team/app", "v3", "newer words")
	p.mustSign(t, "team/app", "v3", p.newer)
	p.qaKey = p.keyOf(t, app, "qa", qa)

	p.notary = newLine(t, p.world.notary.addr)
	p.mustOpen(t, func(s *settings) {
		s.notary, s.refresh, s.maxStale = "https://"+p.notary.addr, time.Hour, time.Hour
	})
	wantServed(t, p.manifest(t, "team/app", "v1"), p.v1)
	wantServed(t, p.manifest(t, "team/list", "v1"), p.listed)
	p.notary.cut()
	return p
}

// appointSigner makes somebody with a key of their own, whom the publisher has
// docker appoint.
func (w *world) appointSigner(t *testing.T, gun, name string) *publisher {
	t.Helper()
	s := &publisher{dir: t.TempDir(), server: w.publisher.server, ca: w.ca.file}
	if _, err := s.docker("key", "generate", name, "--dir", s.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := w.docker("signer", "add", "--key", filepath.Join(s.dir, name+".pub"), name, gun); err != nil {
		t.Fatal(err)
	}
	return s
}

// appointCertified is appointSigner for somebody who has a certificate.
func (w *world) appointCertified(t *testing.T, gun, name string) (s *publisher, certFile string) {
	t.Helper()
	s = &publisher{dir: t.TempDir(), server: w.publisher.server, ca: w.ca.file}
	certFile, key, err := signerPair(s.dir, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.docker("key", "load", key, "--name", name); err != nil {
		t.Fatal(err)
	}
	if _, err := w.docker("signer", "add", "--key", certFile, name, gun); err != nil {
		t.Fatal(err)
	}
	return s, certFile
}

// keyOf is the ID of a signer's key as both clients print it: the form that
// "signers" takes.
func (w *world) keyOf(t *testing.T, gun, name string, signer *publisher) string {
	t.Helper()
	list := must(signer.cli("key", "list"))(t)
	for _, s := range must(w.inspect(gun))(t).Signers {
		if s.Name == name && len(s.Keys) == 1 {
			if !strings.Contains(list, s.Keys[0].ID) {
				t.Fatalf("docker trust inspect prints %s, notary key list\n%s", s.Keys[0].ID, list)
			}
			return s.Keys[0].ID
		}
	}
	t.Fatalf("docker trust inspect shows no %s", name)
	return ""
}

// reload has the gate go over to these signers and policies, in which $ is the
// registry's name.
func (p *policyWorld) reload(t *testing.T, policies string) {
	t.Helper()
	policies = strings.ReplaceAll(policies, "$", p.settings.name)
	if err := p.write(p.text(t, func(s *settings) { s.policies = policies })); err != nil {
		t.Fatal(err)
	}
	p.hangup(t, "configuration reloaded")
}

// read is a read of a tag of team/app by a client that takes what the registry has.
func (p *policyWorld) read(t *testing.T, repository, tag string) answer {
	t.Helper()
	accept := http.Header{"Accept": {string(types.DockerManifestSchema2)}} // else the registry converts to schema1
	return p.do(t, request{path: "/v2/" + repository + "/manifests/" + tag, header: accept})
}

// TestPoliciesSayWhoMustHaveSigned, and whose word counts, with signers whom
// docker trust has appointed. Each policy comes by a reload, while Notary is away.
func TestPoliciesSayWhoMustHaveSigned(t *testing.T) {
	t.Parallel()
	p := newPolicyWorld(t)
	signers := fmt.Sprintf("  signers:\n    qa: {keys: [%s]}\n    security: {cert-file: %s}\n    build: {role: targets/alice}\n", p.qaKey, p.securityCert)
	for _, test := range []struct {
		name   string
		policy string            // of team/app
		served map[string]pushed // what is visible
		denied map[string]string // parts of the messages
	}{
		{"none", "mode: enforced",
			map[string]pushed{"v0": p.v0, "v1": p.v1, "v2": p.v2, "v3": p.v3}, map[string]string{"dev-1": "no trust data"}},
		{"a key", "required-signers: [qa]",
			map[string]pushed{"v1": p.v1, "v3": p.v3}, map[string]string{"v0": "required qa", "v2": "required qa", "dev-1": "no trust data"}},
		{"a certificate", "required-signers: [security]",
			map[string]pushed{"v1": p.v1}, map[string]string{"v0": "required security", "v2": "required security", "v3": "required security"}},
		{"a role", "required-signers: [build]",
			map[string]pushed{"v1": p.v1, "v2": p.v2, "v3": p.v3}, map[string]string{"v0": "required build"}},
		{"all of them", "required-signers: [qa, security, build]",
			map[string]pushed{"v1": p.v1}, map[string]string{"v0": "required qa, security, build", "v2": "required qa, security", "v3": "required security"}},
		{"the word of targets alone", "roles: [targets]",
			map[string]pushed{"v0": p.v0, "v1": p.v1, "v2": p.v2, "v3": p.newer}, map[string]string{"dev-1": "no trust data"}},
		{"the word of targets, which qa has not given", "{roles: [targets], required-signers: [qa]}",
			map[string]pushed{"v1": p.v1}, map[string]string{"v0": "required qa", "v3": "required qa"}},
		{"the word of qa before that of targets", "roles: [targets/qa, targets]",
			map[string]pushed{"v0": p.v0, "v1": p.v1, "v2": p.v2, "v3": p.v3}, nil},
		{"the word of qa alone", "roles: [targets/qa]",
			map[string]pushed{"v1": p.v1, "v3": p.v3}, map[string]string{"v0": "no trust data", "v2": "no trust data"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.reload(t, signers+"  policies: [{match: $/team/app, "+strings.Trim(test.policy, "{}")+"}]\n")
			var visible []string
			for tag, image := range test.served {
				wantServed(t, p.manifest(t, "team/app", tag), image)
				visible = append(visible, tag)
			}
			for tag, message := range test.denied {
				wantRefused(t, p.manifest(t, "team/app", tag), 404, "MANIFEST_UNKNOWN", message)
			}
			slices.Sort(visible)
			wantTags(t, tagsIn(t, p.get(t, "/v2/team/app/tags/list")), visible...)
			wantTags(t, tagsIn(t, p.get(t, "/v2/team/list/tags/list")), "v1") // of which no policy speaks
		})
	}

	// Clients are told, and so is the operator.
	p.reload(t, signers+"  policies: [{match: $/team/*, required-signers: [qa]}]\n")
	message := fmt.Sprintf("tag %q in %s is not signed by the required qa", "v2", p.gun("team/app"))
	for _, c := range clients {
		if c.name != "docker" && c.name != "crane" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			wantPulled(t, c, p.world, p.tag("team/app", "v1"), p.v1)
			wantDenied(t, c, p.world, p.tag("team/app", "v2"), message)
			wantDenied(t, c, p.world, p.tag("team/list", "v1"), "not signed by the required qa")
		})
	}
	p.notary.restore(t)
	if out, code := sealgate("inspect", "--config", p.config, p.tag("team/app", "v2")); code != 1 || !strings.Contains(out, "not signed by the required qa") {
		t.Errorf("inspect: exit code %d and\n%s", code, out)
	}
	if out, code := sealgate("inspect", "--config", p.config, p.gun("team/app")); code != 0 || !strings.Contains(out, "required signers: qa") || !strings.Contains(out, "HIDDEN: not signed by the required qa") {
		t.Errorf("inspect: exit code %d and\n%s", code, out)
	}
}

// TestAPolicyOfOneRepositorysMode: the others are as before.
func TestAPolicyOfOneRepositorysMode(t *testing.T) {
	t.Parallel()
	p := newPolicyWorld(t)
	for _, test := range []struct {
		mode, warning string
	}{{"disabled", ""}, {"permissive", "would be denied: unsigned"}} {
		p.reload(t, fmt.Sprintf("  policies: [{match: $/team/app, mode: %s}]\n", test.mode))
		a := p.read(t, "team/app", "dev-1")
		wantServed(t, a, p.dev1)
		if got := a.header.Get("Warning"); (got == "") != (test.warning == "") || !strings.Contains(got, test.warning) {
			t.Errorf("%s: the warning is %q, want %q", test.mode, got, test.warning)
		}
		wantServed(t, p.read(t, "team/app", "v3"), p.newer)
		tags := tagsIn(t, p.get(t, "/v2/team/app/tags/list"))
		slices.Sort(tags)
		wantTags(t, tags, "dev-1", "dev-2", "v0", "v1", "v2", "v3")
		wantRefused(t, p.manifest(t, "team/list", "v2"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/list", "v2"))
	}
	p.reload(t, "")
	wantServed(t, p.manifest(t, "team/app", "v3"), p.v3)
	wantRefused(t, p.manifest(t, "team/app", "dev-1"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/app", "dev-1"))

	// The other way round: one repository is enforced.
	text := p.text(t, func(s *settings) {
		s.mode, s.policies = "disabled", fmt.Sprintf("  policies: [{match: %s/team/app, mode: enforced}]\n", s.name)
	})
	if err := p.write(text); err != nil {
		t.Fatal(err)
	}
	p.hangup(t, "configuration reloaded")
	wantServed(t, p.read(t, "team/list", "v2"), p.unlisted)
	wantServed(t, p.manifest(t, "team/app", "v3"), p.v3)
	wantRefused(t, p.manifest(t, "team/app", "dev-1"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/app", "dev-1"))
}

// TestExemptTagsAreTheRegistrys, and stand in the list beside the signed ones; the
// registry is asked for no other tag.
func TestExemptTagsAreTheRegistrys(t *testing.T) {
	t.Parallel()
	p := newPolicyWorld(t)
	p.reload(t, `  policies: [{match: $/team/app, exempt-tags: ["dev-*"]}]`+"\n")
	wantServed(t, p.read(t, "team/app", "dev-1"), p.dev1)
	wantServed(t, p.manifest(t, "team/app", "v3"), p.v3)
	wantRefused(t, p.manifest(t, "team/app", "unsigned"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/app", "unsigned"))
	wantTags(t, strings.Fields(mustRun(t, trusting(p.world), "crane", "ls", p.gun("team/app"))), "dev-1", "dev-2", "v0", "v1", "v2", "v3")
	wantTags(t, strings.Fields(mustRun(t, trusting(p.world), "crane", "ls", p.gun("team/list"))), "v1")
	for _, c := range clients {
		if c.name != "docker" && c.name != "crane" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			wantPulled(t, c, p.world, p.tag("team/app", "dev-2"), p.dev2)
			wantPulled(t, c, p.world, p.tag("team/app", "v3"), p.v3, p.newer)
			wantDenied(t, c, p.world, p.tag("team/app", "unsigned"), noTrustData(p.world, "team/app", "unsigned"))
		})
	}
	moved := p.mustSay(t, "team/app", "dev-1", "of the day after")
	wantServed(t, p.read(t, "team/app", "dev-1"), moved) // nobody keeps it
	for _, line := range p.registry.tagReads() {
		if !strings.Contains(line, "/manifests/dev-") {
			t.Errorf("a tag that is not exempt was read: %s", line)
		}
	}

	p.reload(t, "")
	wantRefused(t, p.manifest(t, "team/app", "dev-1"), 404, "MANIFEST_UNKNOWN", noTrustData(p.world, "team/app", "dev-1"))
	wantTags(t, tagsIn(t, p.get(t, "/v2/team/app/tags/list")), "v0", "v1", "v2", "v3")
}

// TestASignersCertificateIsReadAtAReload, the configuration being the same.
func TestASignersCertificateIsReadAtAReload(t *testing.T) {
	t.Parallel()
	p := newPolicyWorld(t)
	file := filepath.Join(p.dir, "signer.pem")
	other, _, err := signerPair(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	policies := "  signers: {security: {cert-file: " + file + "}}\n  policies: [{match: $/team/*, required-signers: [security]}]\n"
	copyFile(t, file, p.securityCert)
	p.reload(t, policies)
	wantServed(t, p.manifest(t, "team/app", "v1"), p.v1)
	copyFile(t, file, other)
	p.reload(t, policies)
	wantRefused(t, p.manifest(t, "team/app", "v1"), 404, "MANIFEST_UNKNOWN", "not signed by the required security")
}
