package proxy

import (
	"context"
	"mime"
	"net/http"
	"time"
)

const (
	// maxTrustWrite bounds what is published at once, in bytes: the metadata of
	// an update, all roles together.
	maxTrustWrite = 32 << 20
	// readBack is how long a publisher waits for its own words to be read back.
	readBack = 10 * time.Second
)

// writeTrust passes a publisher's change of trust data to the Notary server,
// which judges the publisher and the change. When it was accepted, it is read
// back before the publisher is told, so that a pull right after a signature
// sees what was signed; where that fails, the change still stands.
func (g *gate) writeTrust(w http.ResponseWriter, r *http.Request, route Route) error {
	if _, ok := g.signs(route.Repository); !ok || g.NotaryURL == nil {
		return errNoTrustFile
	}
	x := &exchange{minRate: g.minRate, w: w, r: r, to: build(g.NotaryURL, route), via: g.NotaryWrites, header: http.Header{}, fail: errNotary}
	for _, name := range []string{"Accept", "User-Agent"} {
		if values := r.Header[name]; values != nil {
			x.header[name] = values
		}
	}
	if authorization := r.Header.Get("Authorization"); g.Passthrough && authorization != "" {
		x.header.Set("Authorization", authorization)
	}
	if route.Kind == TrustCollection && r.Method == http.MethodPost {
		x.most = maxTrustWrite
		form, err := formType(r.Header.Get("Content-Type"))
		if err != nil {
			return err
		}
		x.header.Set("Content-Type", form)
	}
	a, err := x.send()
	if err != nil {
		return err
	}
	a.header.Del("Location")
	if a.status < 300 && !reads(r.Method) && g.Refresh != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), readBack)
		defer cancel()
		_ = g.Refresh(ctx, route.Repository) // whoever reads next is told what is wrong, and the log was
	}
	a.write(w)
	return nil
}

// formType is the type of a multipart form, written anew with its boundary
// (RFC 2046 section 5.1.1) and nothing else of it.
func formType(given string) (string, error) {
	kind, parameters, err := mime.ParseMediaType(given)
	boundary := parameters["boundary"]
	if err != nil || kind != "multipart/form-data" || boundary == "" || len(boundary) > 70 {
		return "", errNoForm
	}
	form := mime.FormatMediaType(kind, map[string]string{"boundary": boundary})
	if form == "" {
		return "", errNoForm
	}
	return form, nil
}
