package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// orasDirect is oras, by its library: its command is made of the same calls.
func orasDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "oras", pull: orasCopy, instead: "not found"}
	return matrixClient{"oras (its library)", with(reads(s, c, s.listen), map[string]cell{
		list: does("signed only", func(t *testing.T) {
			var got []string
			err := must(orasRepository(s.world, s.gun("team/list")))(t).Tags(t.Context(), "", func(tags []string) error {
				got = append(got, tags...)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			wantTags(t, got, "v1", "v2")
		}),
		runs:   without(copiesOnly),
		builds: without(copiesOnly),
		pushes: does("yes", func(t *testing.T) {
			p := mustPushWorld(t)
			orasPush(t, p.world, p.tag("team/pushed", "by-oras"), "application/vnd.example", "application/vnd.example.words", "words")
			p.wantHiddenUntilSigned(t, "by-oras")
		}),
		signs:   does("attaches, keeps both", func(t *testing.T) { orasAttachesTwice(t, mustPushWorld(t)) }),
		resumes: tryingAgain(c),
	})}
}

// orasRepository is a repository, or a reference in one, as oras sees it: without
// credentials, and with its own retries.
func orasRepository(w *world, reference string) (*remote.Repository, error) {
	repository, err := remote.NewRepository(reference)
	if err != nil {
		return nil, err
	}
	repository.Client = &auth.Client{Client: &http.Client{Transport: w.ca.transport(true)}}
	return repository, nil
}

// orasCopy copies a reference, of an index with all its parts, into memory.
func orasCopy(t *testing.T, w *world, reference string) ([]string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	source, err := orasRepository(w, reference)
	if err != nil {
		return nil, err
	}
	copied, err := oras.Copy(ctx, source, source.Reference.Reference, memory.New(), "copied", oras.DefaultCopyOptions)
	return []string{copied.Digest.String()}, err
}

// orasPush pushes an artifact of one layer, and returns its descriptor.
func orasPush(t *testing.T, w *world, reference, configType, layerType, text string) ocispec.Descriptor {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	store := memory.New()
	layer := must(oras.PushBytes(ctx, store, layerType, []byte(text)))(t)
	config := must(oras.PushBytes(ctx, store, configType, []byte("{}")))(t)
	packed := must(oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, "", oras.PackManifestOptions{
		ConfigDescriptor: &config, Layers: []ocispec.Descriptor{layer},
	}))(t)
	if err := store.Tag(ctx, packed, "packed"); err != nil {
		t.Fatal(err)
	}
	repository := must(orasRepository(w, reference))(t)
	return must(oras.Copy(ctx, store, "packed", repository, repository.Reference.Reference, oras.DefaultCopyOptions))(t)
}

// orasAttachesTwice attaches one thing to an image, and then another. The registry
// has no referrers API, so that both are in an index under a tag of the image's
// digest, which oras reads, adds to and writes back.
func orasAttachesTwice(t *testing.T, p *pushWorld) {
	subject := orasPush(t, p.world, p.tag("team/pushed", "attached-to"), "application/vnd.example", "application/vnd.example.words", "words to attach to")
	repository := must(orasRepository(p.world, p.gun("team/pushed")))(t)
	for _, text := range []string{"one", "two"} {
		layer := must(oras.PushBytes(t.Context(), repository, "application/vnd.example.note", []byte(text)))(t)
		must(oras.PackManifest(t.Context(), repository, oras.PackManifestVersion1_1, "application/vnd.example.note", oras.PackManifestOptions{
			Subject: &subject, Layers: []ocispec.Descriptor{layer},
		}))(t)
	}
	found := 0
	err := must(orasRepository(p.world, p.gun("team/pushed")))(t).Referrers(t.Context(), subject, "", func(referrers []ocispec.Descriptor) error {
		found += len(referrers)
		return nil
	})
	if err != nil || found != 2 {
		t.Fatalf("want both, got %d, %v", found, err)
	}
}
