package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	clientfiles "github.com/sealgate/sealgate/config/clients"
)

// sharedNetworkScene is a curated Docker Hub whose clients are on another host.
var sharedNetworkScene = sync.OnceValues(func() (*hubScene, error) {
	n, err := newNetwork()
	if err != nil {
		return nil, err
	}
	suite.atEnd(n.close)
	return newHubScene("netscene", n)
})

func curatedHubOnANetwork(t *testing.T) *hubScene {
	t.Helper()
	return must(sharedNetworkScene())(t)
}

// wantCurated fails unless the daemon gets the approved images by tag, the canary
// by no tag, and nothing from Docker Hub. It returns what the daemon said of the
// canary.
func (s *hubScene) wantCurated(t *testing.T, d *hubDockerd) string {
	t.Helper()
	before := len(s.hub.asked(0))
	for tag, image := range map[string]pushed{"signed": s.signed, "drifted": s.drifted} {
		if out, err := d.pull("team/app:" + tag); err != nil || !strings.Contains(out, image.digest) {
			t.Errorf("%s: want %s, got %v:\n%s", tag, image.digest, err, out)
		}
	}
	out, err := d.pull("team/app:unsigned")
	if err == nil {
		t.Fatalf("pulled an unsigned tag:\n%s", out)
	}
	s.notAsked(t, before)
	return err.Error()
}

// TestDockerdBehindDNSVerifiesSealgateByTheSystemsStore: under Docker Hub's names,
// and under one of a registry, which on loopback would be believed.
func TestDockerdBehindDNSVerifiesSealgateByTheSystemsStore(t *testing.T) {
	s := curatedHubOnANetwork(t)
	names := leadTo(s.gateIP, append([]string{gateName}, hubHosts...)...)

	t.Run("with Sealgate's CA", func(t *testing.T) {
		d := startHubDockerd(t, dockerHost{trusts: s.ca.file, names: names, network: s.network})
		said := s.wantCurated(t, d)
		if want := `manifest for team/app:unsigned not found: manifest unknown: no trust data for tag "unsigned" in docker.io/team/app`; !strings.Contains(said, want) {
			t.Errorf("want %s, got %s", want, said)
		}
		if out, err := d.pull(gateName + "/team/app:signed"); err != nil || !strings.Contains(out, s.signed.digest) {
			t.Errorf("under its own name: want %s, got %v:\n%s", s.signed.digest, err, out)
		}
	})
	t.Run("without", func(t *testing.T) {
		d := startHubDockerd(t, dockerHost{trusts: s.system, names: names, network: s.network})
		for _, image := range []string{"team/app:signed", gateName + "/team/app:signed"} {
			if out, err := d.pull(image); err == nil || !strings.Contains(err.Error(), "x509: certificate signed by unknown authority") {
				t.Errorf("%s: want an unknown authority, got %v:\n%s", image, err, out)
			}
		}
	})
}

// TestDockerdVerifiesAMirrorByTheEmittedFilesAndFallsBackUntilItCannotReachDockerHub
// has dockerd on a host with what `doctor --emit docker` writes, and nothing of
// Sealgate in the system's store.
func TestDockerdVerifiesAMirrorByTheEmittedFilesAndFallsBackUntilItCannotReachDockerHub(t *testing.T) {
	s := curatedHubOnANetwork(t)
	dir := s.emitted(t, "docker", "dns")
	d := startHubDockerd(t, dockerHost{trusts: s.system, names: s.beside(), network: s.network, etc: filepath.Join(dir, "etc/docker")})
	packets := s.network.counts(t, s.hub.ip)

	if out, err := d.pull("team/app:drifted"); err != nil || !strings.Contains(out, s.drifted.digest) || packets() != 0 {
		t.Fatalf("by the mirror: want %s and no packet to Docker Hub, got %d and %v:\n%s", s.drifted.digest, packets(), err, out)
	}
	if out, err := d.pull("team/app:unsigned"); err != nil || !strings.Contains(out, s.unsigned.digest) || packets() == 0 {
		t.Errorf("by the fallback: want %s, got %d packets to Docker Hub and %v:\n%s", s.unsigned.digest, packets(), err, out)
	}

	// Without the CA where it was emitted, the mirror is not believed.
	authority := filepath.Join(dir, clientfiles.DockerDir, gateName, "ca.crt")
	text, logged := must(os.ReadFile(authority))(t), len(d.output())
	if err := os.Remove(authority); err != nil {
		t.Fatal(err)
	}
	if out, err := d.pull("team/app:drifted"); err != nil || !strings.Contains(out, s.drift.digest) || !strings.Contains(d.output()[logged:], "x509: certificate signed by unknown authority") {
		t.Errorf("without the CA: want %s, got %v:\n%s\n%s", s.drift.digest, err, out, d.tail())
	}
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct{ name, does, undoes string }{
		{"by the emitted rules of the packet filter", "nft -f " + filepath.Join(dir, "etc/nftables.d/sealgate.nft"), "nft delete table inet sealgate"},
		{"since no route leads there", "ip route add unreachable " + s.hub.ip, "ip route delete unreachable " + s.hub.ip},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.network.mustIn(t, strings.Fields(c.does)...)
			defer s.network.mustIn(t, strings.Fields(c.undoes)...)
			s.wantCurated(t, d)
		})
	}
}

// TestContainerdSendsNothingToTheFallbackHostForAnUnsignedTag is about the emitted
// hosts.toml: the host that it names as the server of docker.io does not hear of
// what Sealgate refuses, and gets not even a packet.
func TestContainerdSendsNothingToTheFallbackHostForAnUnsignedTag(t *testing.T) {
	s := curatedHubOnANetwork(t)
	hosts := mustHosts(t, s.beside())
	dir := filepath.Join(s.emitted(t, "containerd"), clientfiles.ContainerdDir)
	packets := s.network.counts(t, s.hub.ip)
	before := len(s.hub.asked(0))

	for tag, image := range map[string]pushed{"signed": s.signed, "drifted": s.drifted} {
		if out, err := s.ctrPull(t, hosts, dir, "docker.io/team/app:"+tag); err != nil || !strings.Contains(out, image.digest) {
			t.Errorf("%s: want %s, got %v:\n%s", tag, image.digest, err, out)
		}
	}
	out, err := s.ctrPull(t, hosts, dir, "docker.io/team/app:unsigned")
	if err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("want a failure that says not found, got %v:\n%s", err, out)
	}
	s.notAsked(t, before)
	if sent := packets(); sent != 0 {
		t.Errorf("%d packets were sent to Docker Hub", sent)
	}

	// The host was there to be asked, and would have given the tag.
	if out, err := s.ctrPull(t, hosts, t.TempDir(), "docker.io/team/app:unsigned"); err != nil || !strings.Contains(out, s.unsigned.digest) {
		t.Errorf("without hosts.toml: want %s, got %v:\n%s", s.unsigned.digest, err, out)
	}
	if packets() == 0 || len(s.hub.asked(before)) == 0 {
		t.Errorf("Docker Hub was not asked: %d packets, %q", packets(), s.hub.asked(before))
	}
}
