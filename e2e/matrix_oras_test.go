package e2e

import (
	"context"
	"net/http"
	"testing"
	"time"

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
		runs:    without(copiesOnly),
		builds:  without(copiesOnly),
		resumes: goesOn(c, false),
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
