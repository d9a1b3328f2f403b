package main

import (
	"strings"
	"testing"

	"github.com/sealgate/sealgate/config"
)

func TestASelectionIsATagOrAPatternOfOneRepository(t *testing.T) {
	one := &config.Config{Registries: []config.Registry{{Name: "registry.example.com"}}}
	two := &config.Config{Registries: []config.Registry{{Name: "registry.example.com:5000"}, {Name: "docker.io"}}}
	for _, c := range []struct {
		cfg  *config.Config
		arg  string
		gun  string // "" where it is refused
		tag  string
		says string
	}{
		{one, "registry.example.com/team/app:v1", "registry.example.com/team/app", "v1", ""},
		{one, "team/app:v1.*", "registry.example.com/team/app", "v1.*", ""},
		{one, "team/app:*", "registry.example.com/team/app", "*", ""},
		{two, "registry.example.com:5000/app:*-rc", "registry.example.com:5000/app", "*-rc", ""},
		{two, "alpine:3.*", "docker.io/library/alpine", "3.*", ""},
		{two, "registry.example.com:5000/app", "", "", "a tag is expected"},
		{one, "team/app", "", "", "as in team/app:v1.*"},
		{one, "team/app:", "", "", "a tag is expected"},
		{one, "team/*:v1", "", "", "is not a repository"},
		{one, "team/app:v1 *", "", "", "is not a repository"},
		{one, "team/app@sha256:" + strings.Repeat("a", 64), "", "", "REPO"},
		{one, "other.example.com/app:v1", "", "", "no registry"},
		{two, "team/App:v1", "", "", "begin with the name"},
	} {
		t.Run(c.arg, func(t *testing.T) {
			got, err := parseSelection(c.cfg, c.arg)
			if c.gun == "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || got.gun != c.gun || got.tag != c.tag || got.String() != c.gun+":"+c.tag || c.cfg.Registries[got.registry].Name+"/"+got.repository != c.gun {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}
