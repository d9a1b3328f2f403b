package rewrite

import (
	"encoding/json"
	"net/url"
	"strconv"
)

// Tags returns the body of a tag list (OCI distribution-spec v1.1, "Listing
// Tags"). No tags make an empty list, never null: clients choke on null.
func Tags(repository string, tags []string) []byte {
	if tags == nil {
		tags = []string{}
	}
	body, err := json.Marshal(struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{repository, tags})
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(body, '\n')
}

// NextTags returns the Link header (RFC 8288) to the page of n tags after
// last. It is path-absolute: some clients refuse to follow another host.
func NextTags(repository string, n int, last string) string {
	return "</v2/" + repository + "/tags/list?last=" + url.QueryEscape(last) + "&n=" + strconv.Itoa(n) + `>; rel="next"`
}
