package clients

import (
	"encoding/json"
)

// Daemon is what of dockerd's daemon.json decides where images come from.
type Daemon struct {
	// Mirrors are asked for the images of Docker Hub before Docker Hub is.
	Mirrors []string `json:"registry-mirrors"`
	// Insecure are registries and networks at which whoever answers is believed.
	Insecure []string `json:"insecure-registries"`
	// Features has containerd-snapshotter, whether images are kept in containerd's
	// store: the default from dockerd 29 on.
	Features map[string]bool `json:"features"`
	// Proxies are web proxies by which registries are asked, with their
	// credentials.
	Proxies struct {
		HTTP  string `json:"http-proxy"`
		HTTPS string `json:"https-proxy"`
	} `json:"proxies"`
}

// ContainerdStore is whether images are kept in containerd's store, in which case
// hosts.toml are read; known is whether the file says so.
func (d Daemon) ContainerdStore() (on, known bool) {
	on, known = d.Features["containerd-snapshotter"]
	return on, known
}

// ReadDaemon reads a daemon.json; an empty one is one, too. Keys that have
// nothing to do with registries are passed over.
func ReadDaemon(text []byte) (Daemon, error) {
	var d Daemon
	if len(text) == 0 {
		return d, nil
	}
	err := json.Unmarshal(text, &d)
	return d, err
}

// DaemonFile is dockerd's own.
const DaemonFile = "/etc/docker/daemon.json"

// Docker is what a host with dockerd needs.
func Docker(endpoints []Endpoint) []File {
	var files []File
	for _, e := range endpoints {
		switch {
		case e.AtOwnName() && e.Registry == Hub:
			files = append(files, e.ownName("dockerd"))
			files = append(files, e.systemAuthority("dockerd believes for Docker Hub ("+DockerDir+"/"+HubServer+" is not read)")...)
		case e.AtOwnName():
			files = append(files, e.ownName("dockerd"))
			files = append(files, e.dockerAuthority(e.Registry)...)
		case e.Registry == Hub:
			files = append(files, e.dockerMirror()...)
		default:
			files = append(files, File{Says: []string{
				e.Registry + ": dockerd with its own image store knows no mirror of any registry but Docker Hub.",
				"Have the registry's name lead to Sealgate (--emit dns), or keep images in containerd's store, for which this is:",
			}})
			files = append(files, e.hostsFiles(DockerDir, "dockerd 28 and newer with the containerd image store")...)
		}
		if !e.Plain {
			trust := e.Address
			if e.AtOwnName() {
				trust = e.Registry
			}
			files = append(files, e.authority("~/.docker/tls/"+trust+"/ca.crt",
				"For docker trust and DOCKER_CONTENT_TRUST=1, whose trust server is the registry's host. It closes nothing.")...)
		}
	}
	return files
}

// dockerAuthority is the CA where dockerd looks for that of a registry or mirror.
func (e Endpoint) dockerAuthority(host string) []File {
	return e.authority(DockerDir+"/"+host+"/ca.crt",
		"The CA, for dockerd with its own image store; read anew at each pull. It closes nothing: without it the pull fails.")
}

func (e Endpoint) dockerMirror() []File {
	text, err := json.MarshalIndent(map[string][]string{"registry-mirrors": {e.URL()}}, "", "  ")
	if err != nil {
		panic(err) // a map of strings has no way to fail
	}
	files := []File{{
		Path: DaemonFile,
		Says: []string{
			"Merge this into the file that is there, and restart dockerd.",
			"It closes nothing: whatever a mirror answers, dockerd with its own image store asks " + HubServer + " next;",
			"only egress or DNS closes that (sealgate doctor --emit dns).",
		},
		Text: string(text) + "\n",
	}}
	files = append(files, e.dockerAuthority(e.Address)...)
	return append(files, e.hostsFiles(DockerDir, "dockerd 28 and newer with the containerd image store (the default from 29 on), where it overrides registry-mirrors")...)
}
