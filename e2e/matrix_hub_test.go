package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// notToDockerHub is why nothing is pushed there.
const notToDockerHub = "docker.io is pulled from only"

// dockerHub is a Docker Hub that holds what the scene holds, a Notary of its own
// with trust data for docker.io, and a dockerd that is led to the hub.
type dockerHub struct {
	*scene // its registry is the hub's, and its names are docker.io's
	hub    *hub
	daemon *dockerDaemon
}

// newDockerHub is one for a test.
func newDockerHub(t *testing.T) dockerHub {
	t.Helper()
	// Others sign for docker.io at the scene's Notary. dockerd trusts the scene's CA.
	w := must(newWorldUnder(shared(t).ca, must(os.MkdirTemp(suite.dir, "hub-"))(t), registryOptions{}))(t)
	t.Cleanup(w.close)
	h := mustHub(t, w.ca)
	s := &scene{world: &world{
		dir: w.dir, ca: w.ca, registry: h.registry, notary: w.notary, publisher: w.publisher, listen: "docker.io",
	}}
	if err := s.publish(); err != nil {
		t.Fatal(err)
	}
	d := must(startAnyDockerd(filepath.Join(suite.dir, "dockerd-"+filepath.Base(w.dir)), w.ca, h.names()))(t)
	t.Cleanup(d.close)
	return dockerHub{s, h, d}
}

// openAt opens a Sealgate for docker.io at an address, with more keys than most. It asks the hub's registry
// past the server that stands for Docker Hub's own names.
func (d dockerHub) openAt(t *testing.T, address, more string, hosts ...string) *gate {
	t.Helper()
	return d.openWith(t, address, hosts, func(s *settings) { s.more = more })
}

// openWith is openAt with the settings as change leaves them.
func (d dockerHub) openWith(t *testing.T, address string, hosts []string, change func(*settings)) *gate {
	t.Helper()
	s := settings{
		listen: address, name: "docker.io", hosts: hosts, upstream: d.hub.registry.url, notary: d.notary.url,
		credentials: "anonymous", mode: "enforced", rootKeys: map[string]string{"docker.io/*": must(d.rootKey())(t)},
		refresh: 3 * time.Second, maxStale: time.Hour, authTTL: 2 * time.Second,
	}
	change(&s)
	g := must(openGate(must(os.MkdirTemp(suite.dir, "gate-"))(t), d.ca, s))(t)
	t.Cleanup(func() { g.stop(20 * time.Second) })
	return g
}

func (d dockerHub) row() dockerRow {
	row := dockerRow{scene: d.scene, daemon: d.daemon, env: d.daemon.env(), client: client{name: "docker"}, registry: "docker.io"}
	row.client.pull = row.pull
	return row
}

// dockerWithMirror is docker with Sealgate among its registry-mirrors, and nothing
// else: an unsigned tag is then pulled from Docker Hub.
func dockerWithMirror(t *testing.T, d dockerHub, g *gate) matrixClient {
	d.daemon.mirror(t, g.url)
	row := d.row()
	fallsBack := func(t *testing.T, pulls func(tag string) error) {
		before := len(d.hub.asked(0))
		if err := pulls("unsigned"); err != nil {
			t.Error(err)
		}
		if asked := d.hub.asked(before); !slices.ContainsFunc(asked, func(s string) bool { return strings.HasSuffix(s, "/manifests/unsigned") }) {
			t.Errorf("Docker Hub was asked %q", asked)
		}
	}
	return matrixClient{"docker, `registry-mirrors` alone", with(row.cells(), map[string]cell{
		unsignedTag: does("**falls back**", func(t *testing.T) {
			fallsBack(t, func(tag string) error { _, err := row.pull(t, d.world, row.image(tag)); return err })
		}),
		runs: does("yes, **falls back**", func(t *testing.T) {
			row.runsSigned(t)
			fallsBack(t, func(tag string) error { _, err := row.run(tag); return err })
		}),
		builds: does("yes, **falls back**", func(t *testing.T) {
			row.buildsOnSigned(t)
			fallsBack(t, func(tag string) error { _, err := row.build(t, tag); return err })
		}),
		pushes:  without(notToDockerHub),
		signs:   without(notToDockerHub),
		resumes: without(seeDocker),
	})}
}

// dockerWithStrictMirror is the same with denials that docker does not get over.
func dockerWithStrictMirror(t *testing.T, d dockerHub) matrixClient {
	address := must(freeAddress())(t)
	d.daemon.mirror(t, d.openAt(t, address, "denial: strict-mirror", address).url)
	row := d.row()
	row.client.instead = "TAG IS NOT SIGNED (no trust data for tag 'unsigned' in docker.io/team/app"
	cells := row.cells()
	for _, head := range []string{unsignedTag, runs, builds} {
		cells[head] = asksNobodyElse(d.hub, cells[head])
	}
	return matrixClient{"docker, `registry-mirrors`, `denial: strict-mirror`", with(cells, map[string]cell{
		pushes:  without(notToDockerHub),
		signs:   without(notToDockerHub),
		resumes: without(seeDocker),
	})}
}

// dockerBehindDNS is docker on a host whose DNS has Docker Hub's names at Sealgate,
// and whose system store trusts Sealgate's CA.
func dockerBehindDNS(t *testing.T, d dockerHub) matrixClient {
	d.daemon.mirror(t, "")
	d.hub.stopServer()
	d.openAt(t, d.hub.ip+":443", "", append(slices.Clone(hubHosts), d.hub.ip)...)
	return matrixClient{"docker, DNS for docker.io", with(d.row().cells(), map[string]cell{
		pushes:  without(notToDockerHub),
		signs:   without(notToDockerHub),
		resumes: without(seeDocker),
	})}
}
