package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
)

// localImage is one that a client of this host has.
type localImage struct {
	name    string   // registry/repository
	tag     string   // empty: none
	digests []string // of manifests; empty where it was built here
}

// listers list the images of the clients that are installed.
func listers() map[string]func(context.Context, command) ([]localImage, error) {
	return map[string]func(context.Context, command) ([]localImage, error){
		"docker": dockerImages, "podman": podmanImages, "containerd": containerdImages,
	}
}

func dockerImages(ctx context.Context, run command) ([]localImage, error) {
	out, err := run(ctx, "docker", "image", "ls", "--digests", "--no-trunc", "--format", "{{.Repository}}\t{{.Tag}}\t{{.Digest}}")
	var images []localImage
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) != 3 || f[0] == "<none>" {
			continue
		}
		image := localImage{name: withRegistry(f[0])}
		if f[1] != "<none>" {
			image.tag = f[1]
		}
		if f[2] != "<none>" {
			image.digests = []string{f[2]}
		}
		images = append(images, image)
	}
	return images, err
}

func podmanImages(ctx context.Context, run command) ([]localImage, error) {
	out, err := run(ctx, "podman", "images", "--format", "json")
	if err != nil {
		return nil, err
	}
	var list []struct{ Names, RepoDigests []string }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, err
	}
	var images []localImage
	for _, entry := range list {
		byName := map[string][]string{}
		for _, known := range entry.RepoDigests {
			if name, digest, ok := strings.Cut(known, "@"); ok {
				byName[name] = append(byName[name], digest)
			}
		}
		tagged := map[string]bool{}
		for _, reference := range entry.Names {
			name, tag := splitTag(reference)
			tagged[name] = true
			images = append(images, localImage{name, tag, byName[name]})
		}
		for name, digests := range byName {
			if !tagged[name] {
				images = append(images, localImage{name, "", digests})
			}
		}
	}
	return images, nil
}

// splitTag splits registry/repository:tag; what is no tag is left out.
func splitTag(reference string) (name, tag string) {
	name, _, _ = strings.Cut(reference, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:]
	}
	return name, ""
}

func containerdImages(ctx context.Context, run command) ([]localImage, error) {
	out, err := run(ctx, "ctr", "namespaces", "ls", "--quiet")
	if err != nil {
		return nil, err
	}
	var images []localImage
	for _, namespace := range strings.Fields(out) {
		list, err := run(ctx, "ctr", "--namespace", namespace, "images", "ls")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(list) {
			f := strings.Fields(line)
			if len(f) < 3 || !strings.HasPrefix(f[2], "sha256:") {
				continue
			}
			name, tag := splitTag(f[0])
			images = append(images, localImage{name, tag, []string{f[2]}})
		}
	}
	return images, nil
}

// imageCheck compares local images with what Sealgate shows.
type imageCheck struct {
	prober   prober
	gate     *url.URL
	registry string
	report   *diagnosis
	signed   map[string][]string // digests by repository, for images without a tag
}

func (c imageCheck) all(ctx context.Context, run command) {
	for _, client := range []string{"docker", "podman", "containerd"} {
		images, err := listers()[client](ctx, run)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			c.report.add(levelNote, client, "", "its images cannot be listed: %v", err)
			continue
		}
		unsigned := 0
		for _, image := range images {
			if repository, ok := strings.CutPrefix(image.name, c.registry+"/"); ok && len(image.digests) > 0 {
				unsigned += c.one(ctx, client, repository, image)
			}
		}
		if unsigned == 0 {
			c.report.add(levelOK, client, "", "no image of %s is here that is not signed", c.registry)
		}
	}
}

// one judges an image, and returns 1 where it is not known to be signed.
func (c imageCheck) one(ctx context.Context, client, repository string, image localImage) int {
	if image.tag == "" {
		return c.untagged(ctx, client, repository, image)
	}
	o := c.prober.tag(ctx, c.gate, repository, image.tag)
	reference := image.name + ":" + image.tag
	switch {
	case o.served() && slices.Contains(image.digests, o.digest):
		return 0
	case o.served():
		c.report.add(levelHole, client, "", "the image %s here is %s: not signed (any more), signed is %s", reference, strings.Join(image.digests, " "), o.digest)
	case o.undecided():
		c.report.add(levelUnknown, client, "", "whether the image %s is signed: %s", reference, o)
	default:
		c.report.add(levelHole, client, "", "the image %s is here, %s: not signed (any more)", reference, strings.Join(image.digests, " "))
	}
	return 1
}

// untagged is for images that were pulled by digest, or whose tag went to another.
func (c imageCheck) untagged(ctx context.Context, client, repository string, image localImage) int {
	digests, known := c.signed[repository]
	if !known {
		var err error
		if digests, err = c.prober.signedDigests(ctx, c.gate, repository); err != nil {
			c.report.add(levelUnknown, client, "", "what is signed of %s: %v", image.name, err)
			return 1
		}
		c.signed[repository] = digests
	}
	if slices.ContainsFunc(image.digests, func(d string) bool { return slices.Contains(digests, d) }) {
		return 0
	}
	c.report.add(levelHole, client, "", "the image %s is here without a tag: not signed under any (any more)", image.name+"@"+strings.Join(image.digests, " "))
	return 1
}

// pulls are the clients that --pull takes: how each looks for an image, pulls it
// and removes it.
func pulls() map[string]struct{ has, pull, remove []string } {
	return map[string]struct{ has, pull, remove []string }{
		"docker": {[]string{"docker", "image", "inspect"}, []string{"docker", "pull", "--quiet"}, []string{"docker", "rmi"}},
		"podman": {[]string{"podman", "image", "exists"}, []string{"podman", "pull", "--quiet"}, []string{"podman", "rmi"}},
		"skopeo": {nil, []string{"skopeo", "inspect", "--raw"}, nil},
		"crictl": {[]string{"crictl", "inspecti"}, []string{"crictl", "pull"}, []string{"crictl", "rmi"}},
	}
}

func pullers() []string { return []string{"crictl", "docker", "podman", "skopeo"} }

// pullCanary has a client of this host pull what it must not get.
func pullCanary(ctx context.Context, run command, report *diagnosis, client, image string) {
	how, ok := pulls()[client]
	if !ok {
		report.add(levelUnknown, client, "", "no client that can be asked to pull")
		return
	}
	reference := image
	if client == "skopeo" {
		reference = "docker://" + image
	}
	with := func(argv []string) error {
		_, err := run(ctx, append(slices.Clone(argv), reference)...)
		return err
	}
	if how.has != nil && with(how.has) == nil {
		report.add(levelUnknown, client, "", "%s is here already: remove it, and run this again", image)
		return
	}
	err := with(how.pull)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		report.add(levelUnknown, client, "", "is not installed")
	case err != nil:
		report.add(levelOK, client, "", "pulling the canary %s failed: %v", image, err)
	default:
		report.add(levelHole, client, "", "pulled the canary %s, which is not signed", image)
		if how.remove != nil {
			if err := with(how.remove); err != nil {
				report.add(levelNote, client, "", "the canary cannot be removed: %s", fmt.Sprint(err))
			}
		}
	}
}
