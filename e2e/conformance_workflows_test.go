package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

const (
	confConfig     = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	confConfigType = "application/vnd.oci.image.config.v1+json"
	confLayer      = "the bytes of a layer"
	confLayerType  = "application/vnd.oci.image.layer.v1.tar"
	missing        = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
)

// confImage is an ordinary image of the blobs above.
func confImage(more string) string {
	return imageManifest(confConfigType, confConfig, more, descriptor(confLayerType, confLayer))
}

// setUp pushes the blobs and the manifest of an image.
func (c *conformance) setUp(repository string, tags ...string) (manifest string) {
	c.t.Helper()
	c.blob(repository, confConfig)
	c.blob(repository, confLayer)
	c.blob(repository, "{}") // the config of an artifact
	manifest = confImage("")
	for _, reference := range append([]string{sha256Of(manifest)}, tags...) {
		if r := c.ask("PUT", "/v2/"+repository+"/manifests/"+reference, manifest, "Content-Type", ociManifestType); r.status != http.StatusCreated {
			c.t.Fatalf("a manifest cannot be pushed: %d %s", r.status, r.body)
		}
	}
	return manifest
}

// pull is "Pull": blobs and manifests, those that are there and those that are not.
func (c *conformance) pull() {
	c.workflow = "pull"
	const at = "/v2/conformance/pull"
	manifest := c.setUp("conformance/pull", "tagged")
	accept := []string{"Accept", ociManifestType}
	c.check("GET /v2/ is 200", func() error { return c.ask("GET", "/v2/", "").wants(200) })
	c.check("HEAD of a blob that is not there is 404", func() error { return c.ask("HEAD", at+"/blobs/"+missing, "").wants(404) })
	c.check("GET of a blob that is not there is 404 with an error", func() error {
		r := c.ask("GET", at+"/blobs/"+missing, "")
		return firstOf(r.wants(404), r.code("BLOB_UNKNOWN"))
	})
	c.check("HEAD of a blob has its length and digest", func() error {
		r := c.ask("HEAD", at+"/blobs/"+sha256Of(confLayer), "")
		return firstOf(r.wants(200), is(r.header.Get("Content-Length") == fmt.Sprint(len(confLayer)), "another length"), is(r.header.Get("Docker-Content-Digest") == sha256Of(confLayer), "another digest"))
	})
	c.check("GET of a blob is its bytes", func() error {
		r := c.ask("GET", at+"/blobs/"+sha256Of(confLayer), "")
		return firstOf(r.wants(200), is(r.body == confLayer, "other bytes"))
	})
	c.check("a range of a blob is 206", func() error {
		r := c.ask("GET", at+"/blobs/"+sha256Of(confLayer), "", "Range", "bytes=4-8")
		return firstOf(r.wants(206), is(r.body == confLayer[4:9], "other bytes"))
	})
	c.check("HEAD of a manifest that is not there is 404", func() error { return c.ask("HEAD", at+"/manifests/"+missing, "", accept...).wants(404) })
	c.check("GET of a tag that is not there is 404 with an error", func() error {
		r := c.ask("GET", at+"/manifests/absent", "", accept...)
		return firstOf(r.wants(404), r.code("MANIFEST_UNKNOWN", "NAME_UNKNOWN"))
	})
	c.check("GET of what is no tag is 404 or 400", func() error { return c.ask("GET", at+"/manifests/.INVALID", "", accept...).wants(404, 400) })
	for _, how := range []struct{ name, reference string }{{"digest", sha256Of(manifest)}, {"tag", "tagged"}} {
		c.check("HEAD of a manifest by "+how.name, func() error {
			r := c.ask("HEAD", at+"/manifests/"+how.reference, "", accept...)
			return firstOf(r.wants(200), is(r.header.Get("Docker-Content-Digest") == sha256Of(manifest), "another digest"), is(r.header.Get("Content-Length") == fmt.Sprint(len(manifest)), "another length"))
		})
		c.check("GET of a manifest by "+how.name, func() error {
			r := c.ask("GET", at+"/manifests/"+how.reference, "", accept...)
			return firstOf(r.wants(200), is(r.body == manifest, "other bytes"), is(r.header.Get("Content-Type") == ociManifestType, "another type"))
		})
	}
}

// push is "Push" of blobs: streamed, monolithic, chunked, mounted.
func (c *conformance) push() {
	c.workflow = "push blobs"
	const at = "/v2/conformance/push"
	octets := []string{"Content-Type", "application/octet-stream"}
	there := func(content string) error {
		r := c.ask("GET", at+"/blobs/"+sha256Of(content), "")
		return firstOf(r.wants(200), is(r.body == content, "other bytes"))
	}
	c.check("streamed: POST, PATCH, PUT", func() error {
		const content = "streamed"
		r := c.ask("PATCH", c.begin("conformance/push"), content, append(octets, "Transfer-Encoding", "chunked")...)
		end := c.ask("PUT", addQuery(r.header.Get("Location"), "digest", sha256Of(content)), "")
		return firstOf(r.wants(202), end.wants(201), is(end.header.Get("Location") != "", "no location"), there(content))
	})
	c.check("monolithic: one POST with a digest", func() error {
		const content = "in one POST"
		r := c.ask("POST", at+"/blobs/uploads/?digest="+sha256Of(content), content, octets...)
		if r.status == http.StatusAccepted { // not supported: then it goes on as any upload
			r = c.ask("PUT", addQuery(r.header.Get("Location"), "digest", sha256Of(content)), content, octets...)
		}
		return firstOf(r.wants(201), there(content))
	})
	c.check("monolithic: POST, then PUT", func() error {
		const content = "in one PUT"
		r := c.ask("PUT", addQuery(c.begin("conformance/push"), "digest", sha256Of(content)), content, octets...)
		return firstOf(r.wants(201), there(content), c.ask("GET", r.header.Get("Location"), "").wants(200))
	})
	c.check("a PUT with another digest is 400", func() error {
		r := c.ask("PUT", addQuery(c.begin("conformance/push"), "digest", missing), "bytes", octets...)
		return firstOf(r.wants(400), r.code("DIGEST_INVALID"))
	})
	c.chunks(there)
	c.check("an upload that is given up is gone", func() error {
		location := c.begin("conformance/push")
		return firstOf(c.ask("DELETE", location, "").wants(204), c.ask("GET", location, "").wants(404))
	})
	c.check("an upload that never was is 404", func() error {
		return c.ask("GET", at+"/blobs/uploads/4e7a3c9e-5f0b-4a8e-9d55-0a6f3e0c1b2d", "").wants(404)
	})
	c.mounts()
}

func (c *conformance) chunks(there func(string) error) {
	const content = "first chunk, second chunk"
	first, second := content[:13], content[13:]
	piece := func(location, bytes string, from int) reply {
		return c.ask("PATCH", location, bytes, "Content-Type", "application/octet-stream", "Content-Range", fmt.Sprintf("%d-%d", from, from+len(bytes)-1))
	}
	location := c.begin("conformance/push")
	c.check("chunks: out of order is 416", func() error { return piece(location, second, len(first)).wants(416) })
	c.check("chunks: the first is 202 with a range", func() error {
		r := piece(location, first, 0)
		location = r.header.Get("Location")
		return firstOf(r.wants(202), is(r.header.Get("Range") == "0-12", "another range"))
	})
	c.check("chunks: the first again is 416", func() error { return piece(location, first, 0).wants(416) })
	c.check("chunks: the status is 204 with a range", func() error {
		r := c.ask("GET", location, "")
		location = r.header.Get("Location")
		return firstOf(r.wants(204), is(r.header.Get("Range") == "0-12", "another range"), is(location != "", "no location"))
	})
	c.check("chunks: the second is 202, and PUT ends it", func() error {
		r := piece(location, second, len(first))
		end := c.ask("PUT", addQuery(r.header.Get("Location"), "digest", sha256Of(content)), "")
		return firstOf(r.wants(202), end.wants(201), there(content))
	})
}

func (c *conformance) mounts() {
	c.check("a blob is mounted from another repository", func() error {
		digest := c.blob("conformance/mounted/from", "to be mounted")
		r := c.ask("POST", "/v2/conformance/mounted/to/blobs/uploads/?mount="+digest+"&from=conformance/mounted/from", "")
		return firstOf(r.wants(201), is(strings.HasSuffix(r.header.Get("Location"), "/v2/conformance/mounted/to/blobs/"+digest), "another location"),
			c.ask("GET", r.header.Get("Location"), "").wants(200))
	})
	c.check("a mount of what is not there begins an upload", func() error {
		r := c.ask("POST", "/v2/conformance/mounted/to/blobs/uploads/?mount="+missing+"&from=conformance/mounted/from", "")
		return firstOf(r.wants(202), c.ask("DELETE", r.header.Get("Location"), "").wants(204))
	})
	c.check("a mount from nowhere named is 201 or begins an upload", func() error {
		return c.ask("POST", "/v2/conformance/mounted/to/blobs/uploads/?mount="+sha256Of("to be mounted"), "").wants(201, 202)
	})
}

// manifests is "Push" of manifests.
func (c *conformance) manifests() {
	c.workflow = "push manifests"
	const at = "/v2/conformance/manifests"
	manifest := c.setUp("conformance/manifests")
	kind := []string{"Content-Type", ociManifestType}
	c.check("by tag is 201 with a location", func() error {
		r := c.ask("PUT", at+"/manifests/1.0", manifest, kind...)
		return firstOf(r.wants(201), c.ask("GET", r.header.Get("Location"), "", "Accept", ociManifestType).wants(200))
	})
	c.check("by digest is 201", func() error { return c.ask("PUT", at+"/manifests/"+sha256Of(manifest), manifest, kind...).wants(201) })
	c.check("by another digest is 400", func() error { return c.ask("PUT", at+"/manifests/"+missing, manifest, kind...).wants(400) })
	c.check("without layers is 201", func() error {
		bare := imageManifest(confConfigType, confConfig, "")
		return firstOf(c.ask("PUT", at+"/manifests/bare", bare, kind...).wants(201), c.ask("GET", at+"/manifests/"+sha256Of(bare), "", "Accept", ociManifestType).wants(200))
	})
	c.check("of layers that are not there is refused", func() error {
		lost := imageManifest(confConfigType, confConfig, "", descriptor(confLayerType, "never pushed"))
		r := c.ask("PUT", at+"/manifests/lost", lost, kind...)
		return firstOf(r.wants(404, 400), r.code("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_INVALID"))
	})
	c.check("what is no manifest is 400", func() error { return c.ask("PUT", at+"/manifests/broken", "{", kind...).wants(400) })
	c.check("an index is 201", func() error {
		index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndexType, descriptor(ociManifestType, manifest))
		return firstOf(c.ask("PUT", at+"/manifests/index", index, "Content-Type", ociIndexType).wants(201),
			c.ask("GET", at+"/manifests/"+sha256Of(index), "", "Accept", ociIndexType).wants(200))
	})
	c.check("with a subject is 201", func() error {
		return c.ask("PUT", at+"/manifests/with-subject", c.artifact(manifest), kind...).wants(201)
	})
	c.check("with a subject is answered with OCI-Subject", func() error {
		r := c.ask("PUT", at+"/manifests/with-subject", c.artifact(manifest), kind...)
		return is(r.header.Get("OCI-Subject") == sha256Of(manifest), "no OCI-Subject")
	})
}

// artifact is the manifest of something about subject.
func (c *conformance) artifact(subject string) string {
	return imageManifest(ociEmptyType, "{}", `,"artifactType":"application/vnd.example","subject":`+descriptor(ociManifestType, subject), descriptor("application/vnd.example", confLayer))
}

// discovery is "Content Discovery": the tags.
func (c *conformance) discovery() {
	c.workflow = "content discovery"
	const at = "/v2/conformance/tags/tags/list"
	tags := []string{"a", "b", "c", "d"}
	c.setUp("conformance/tags", tags...)
	list := func(query string, want ...string) (reply, error) {
		r := c.ask("GET", at+query, "")
		var body struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal([]byte(r.body), &body); err != nil || r.status != 200 {
			return r, fmt.Errorf("status %d", r.status)
		}
		return r, firstOf(is(body.Name == "conformance/tags", "another name"), is(slices.Equal(body.Tags, want), fmt.Sprintf("%d tags", len(body.Tags))))
	}
	c.check("all tags are listed in order", func() error { _, err := list("", tags...); return err })
	c.check("n tags, and a link to the rest", func() error {
		r, err := list("?n=2", tags[:2]...)
		if err != nil {
			return err
		}
		target, _, _ := strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
		next := c.ask("GET", target, "")
		return firstOf(next.wants(200), is(strings.Contains(next.body, `["c","d"]`), "other tags"))
	})
	c.check("the tags after last", func() error { _, err := list("?n=2&last=b", tags[2:]...); return err })
	c.check("no tags where n is 0", func() error { _, err := list("?n=0"); return err })
}

// referrers is "Listing Referrers", and what clients do without it.
func (c *conformance) referrers() {
	c.workflow = "referrers"
	const at = "/v2/conformance/referrers"
	subject := c.setUp("conformance/referrers")
	artifact := c.artifact(subject)
	c.ask("PUT", at+"/manifests/"+sha256Of(artifact), artifact, "Content-Type", ociManifestType)
	listed := func(query string) (n int, r reply, err error) {
		r = c.ask("GET", at+"/referrers/"+sha256Of(subject)+query, "")
		var index struct{ Manifests []struct{ Digest string } }
		if err := firstOf(r.wants(200), json.Unmarshal([]byte(r.body), &index)); err != nil {
			return 0, r, err
		}
		return len(index.Manifests), r, is(r.header.Get("Content-Type") == ociIndexType, "another type")
	}
	c.check("of nothing is an empty index", func() error {
		r := c.ask("GET", at+"/referrers/"+missing, "")
		return firstOf(r.wants(200), is(strings.Contains(r.body, `"manifests":[]`), "another body"))
	})
	c.check("of a subject are listed", func() error {
		n, _, err := listed("")
		return firstOf(err, is(n == 1, "another number"))
	})
	c.check("of a type are listed", func() error {
		n, _, err := listed("?artifactType=application/vnd.other")
		return firstOf(err, is(n == 0, "another number"))
	})
	c.check("of a digest that is none is 400 or 404", func() error { return c.ask("GET", at+"/referrers/sha256:0", "").wants(400, 404) })
	c.check("without the API: the index under the subject's tag is written and read back", func() error {
		index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`, ociIndexType, descriptor(ociManifestType, artifact))
		tag := strings.Replace(sha256Of(subject), ":", "-", 1)
		put := c.ask("PUT", at+"/manifests/"+tag, index, "Content-Type", ociIndexType)
		got := c.ask("GET", at+"/manifests/"+tag, "", "Accept", ociIndexType)
		return firstOf(put.wants(201), got.wants(200), is(got.body == index, "other bytes"))
	})
}

// management is "Content Management": what is deleted is gone.
func (c *conformance) management() {
	c.workflow = "content management"
	const at = "/v2/conformance/delete"
	manifest := c.setUp("conformance/delete", "first", "second")
	c.check("a tag is deleted", func() error { return c.ask("DELETE", at+"/manifests/first", "").wants(202) })
	c.check("a deleted tag is 404", func() error { return c.ask("GET", at+"/manifests/first", "", "Accept", ociManifestType).wants(404) })
	c.check("a deleted tag is not listed, and the other is", func() error {
		r := c.ask("GET", at+"/tags/list", "")
		return firstOf(r.wants(200), is(!strings.Contains(r.body, "first"), "it is listed"), is(strings.Contains(r.body, "second"), "the other is not"))
	})
	c.check("a tag that is not there is 404", func() error { return c.ask("DELETE", at+"/manifests/absent", "").wants(404) })
	c.check("a manifest is deleted", func() error { return c.ask("DELETE", at+"/manifests/"+sha256Of(manifest), "").wants(202) })
	c.check("a deleted manifest is 404", func() error {
		return c.ask("GET", at+"/manifests/"+sha256Of(manifest), "", "Accept", ociManifestType).wants(404)
	})
	c.check("a manifest that is not there is 404", func() error { return c.ask("DELETE", at+"/manifests/"+missing, "").wants(404) })
	c.check("a blob is deleted", func() error { return c.ask("DELETE", at+"/blobs/"+sha256Of(confLayer), "").wants(202) })
	c.check("a deleted blob is 404", func() error { return c.ask("GET", at+"/blobs/"+sha256Of(confLayer), "").wants(404) })
	c.check("a blob that is not there is 404", func() error { return c.ask("DELETE", at+"/blobs/"+missing, "").wants(404) })
}
