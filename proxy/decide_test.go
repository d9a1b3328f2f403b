package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
)

// TestDecide walks through every cell: what is known of the repository, and
// what it says of the tag.
func TestDecide(t *testing.T) {
	const gun = "registry.example.com/acme/app"
	signed := trustcache.Target{Tag: "1.0", Digest: trustcache.Digest{1}, Length: 7, Role: "targets", Signers: []string{"targets"}}
	view := func(targets ...trustcache.Target) trustcache.View {
		return trustcache.View{Snapshot: trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Targets: targets, Hidden: []trustcache.HiddenTag{{Tag: "1.0", Roles: []string{"targets/qa"}}}})}
	}
	stale := view(signed)
	stale.Stale = trustcache.ErrUnreachable
	wrapped := func(err error) error { return fmt.Errorf("%w: why", err) }
	lacking := func(doubt string) trustcache.View {
		return trustcache.View{Snapshot: trustcache.NewSnapshot(trustcache.Contents{GUN: gun, Hidden: []trustcache.HiddenTag{
			{Tag: "1.0", Roles: []string{"targets"}, Missing: []string{"qa"}, Doubt: doubt},
		}})}
	}
	for _, tt := range []struct {
		name   string
		view   trustcache.View
		err    error
		status int // 0: served
		reason string
	}{
		{"signed", view(signed), nil, 0, "signed"},
		{"signed, on an older snapshot that stands", stale, nil, 0, "signed"},
		{"nothing signed", view(), nil, 404, "unsigned"},
		{"another tag signed", view(trustcache.Target{Tag: "1.0.0"}), nil, 404, "unsigned"},
		{"the tag in other letters", view(trustcache.Target{Tag: "1.O"}), nil, 404, "unsigned"},
		{"signed without a sha256", view(trustcache.Target{Tag: "1.0", NoDigest: true}), nil, 404, "no-digest"},
		{"no trust data", trustcache.View{}, wrapped(trustcache.ErrNoTrustData), 404, "no-trust-data"},
		{"no pin", trustcache.View{}, wrapped(trustcache.ErrUnpinned), 404, "unpinned"},
		{"forged", trustcache.View{}, wrapped(trustcache.ErrMalicious), 503, "malicious"},
		{"rolled back", trustcache.View{}, wrapped(trustcache.ErrRolledBack), 503, "rolled-back"},
		{"refused by Notary", trustcache.View{}, wrapped(trustcache.ErrRefused), 503, "notary-refused"},
		{"a required signer is missing", lacking(""), nil, 404, "missing-signers"},
		{"a required signer may be missing", lacking("targets/qa cannot be read"), nil, 503, "signers-unknown"},
		{"expired", trustcache.View{}, wrapped(trustcache.ErrExpired), 503, "expired"},
		{"disappeared", trustcache.View{}, wrapped(trustcache.ErrVanished), 503, "vanished"},
		{"a full disk", trustcache.View{}, wrapped(trustcache.ErrStore), 503, "store"},
		{"unreachable", trustcache.View{}, wrapped(trustcache.ErrUnreachable), 503, "unreachable"},
		{"a deadline", trustcache.View{}, context.DeadlineExceeded, 503, "trust-error"},
		{"an error of another kind", trustcache.View{}, errors.New("x"), 503, "trust-error"},
		{"an error beside a snapshot that has the tag", view(signed), wrapped(trustcache.ErrMalicious), 503, "malicious"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := proxy.Decide(gun, "1.0", tt.view, tt.err)
			switch {
			case tt.status == 0:
				if d.Denial != nil || d.Target.Digest != signed.Digest {
					t.Errorf("got %+v, want the signed digest", d)
				}
			case d.Denial == nil || d.Denial.Status != tt.status || d.Denial.Reason != tt.reason || d.Target.Digest != trustcache.Digest{}:
				t.Errorf("got %+v, want %d %s and no digest", d, tt.status, tt.reason)
			}
		})
	}
}

func TestWhyTrustCannotBeJudgedIsForTheLogAlone(t *testing.T) {
	underneath := errors.New("write /var/lib/sealgate/x: no space left on device")
	for _, class := range []error{trustcache.ErrStore, trustcache.ErrRefused} {
		d := proxy.Decide(gun("acme/app"), "1.0", trustcache.View{}, trustcache.WithCause(class, underneath)).Denial
		if d == nil || d.Message != class.Error() || !errors.Is(d.Cause, underneath) {
			t.Errorf("%v: got %+v, want the cause beside the message", class, d)
		}
	}
}
