package e2e

import "testing"

// cosignDirect is cosign with images named as the registry is. Of an image it
// reads what a tag means, and then goes by digest.
func cosignDirect(t *testing.T) matrixClient {
	s := shared(t)
	c := client{name: "cosign", pull: cosignResolve}
	return matrixClient{"cosign", with(reads(s, c, s.listen), map[string]cell{
		list:    without(signsOnly),
		runs:    without(signsOnly),
		builds:  without(signsOnly),
		resumes: without(signsOnly),
	})}
}

// cosignResolve is what cosign takes a reference for.
func cosignResolve(t *testing.T, w *world, reference string) ([]string, error) {
	out, err := run(trusting(w), "cosign", "triangulate", "--type", "digest", reference)
	return anyDigest.FindAllString(out, -1), err
}
