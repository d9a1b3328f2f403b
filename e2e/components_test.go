package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// components are the programs that the suite drives, and the Debian package or
// Go module that each comes from.
var components = []struct{ program, from string }{
	{"docker-registry", "Debian package docker-registry"},
	{"notary-server", "Debian package notary"},
	{"notary", "Debian package notary"},
	{"dockerd", "Debian package docker.io"},
	{"docker", "Debian package docker.io"},
	{"docker-compose", "Debian package docker-compose"},
	{"containerd", "Debian package containerd"},
	{"ctr", "Debian package containerd"},
	{"runc", "Debian package runc"},
	{"iptables", "Debian package iptables"},
	{"nft", "Debian package nftables"},
	{"ip", "Debian package iproute2"},
	{"skopeo", "Debian package skopeo"},
	{"podman", "Debian package podman"},
	{"curl", "Debian package curl"},
	{"openssl", "Debian package openssl"},
	{"dpkg-deb", "Debian package dpkg"},
	{"systemd-analyze", "Debian package systemd"},
	{"systemd-nspawn", "Debian package systemd-container"},
	{"man", "Debian package man-db"},
	{"groff", "Debian package groff-base"},
	{"qemu-aarch64-static", "Debian package qemu-user-static"},
	{"busybox", "Debian package busybox-static"},
	{"git", "Debian package git"},
	{"crane", "go install github.com/google/go-containerregistry/cmd/crane, at the version in .ci/setup"},
	{"regctl", "go install github.com/regclient/regclient/cmd/regctl, at the version in .ci/setup"},
	{"cosign", "go install github.com/sigstore/cosign/v2/cmd/cosign, at the version in .ci/setup"},
	{"prometheus", "Debian package prometheus"},
	{"promtool", "Debian package prometheus"},
	{"chromium", "Debian package chromium"},
	{"versitygw", "go install github.com/versity/versitygw/cmd/versitygw, at the version in .ci/setup"},
	{"helm", "go install helm.sh/helm/v3/cmd/helm, at the version in .ci/setup"},
	{"kubeconform", "go install github.com/yannh/kubeconform/cmd/kubeconform, at the version in .ci/setup"},
}

// findComponents extends PATH by where `make setup` and Debian put programs, and
// names every component that is not there.
func findComponents() error {
	if runtime.GOOS != "linux" {
		return fmt.Errorf("the suite needs Linux; `go test -short` leaves it out")
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("the suite needs root, for dockerd and podman; `go test -short` leaves it out")
	}
	tools, err := filepath.Abs("../.cache/bin")
	if err != nil {
		return err
	}
	path := strings.Join([]string{tools, os.Getenv("PATH"), "/usr/local/sbin", "/usr/sbin", "/sbin"}, string(filepath.ListSeparator))
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	var errs []error
	for _, c := range components {
		if _, err := exec.LookPath(c.program); err != nil {
			errs = append(errs, fmt.Errorf("missing %s (%s)", c.program, c.from))
		}
	}
	if errs != nil {
		errs = append(errs, errors.New("`make setup`, as root, installs all that is missing; `go test -short` leaves the suite out"))
	}
	return errors.Join(errs...)
}

// goEnvironment gives the go command its own settings back: unlike the other
// children, it may use the caller's caches and module proxy.
func goEnvironment() []string {
	var env []string
	for _, setting := range os.Environ() {
		if strings.HasPrefix(setting, "GO") || strings.HasPrefix(setting, "HOME=") || strings.HasPrefix(setting, "XDG_") || strings.HasPrefix(setting, "SSL_") {
			env = append(env, setting)
		}
	}
	return env
}
