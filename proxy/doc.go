// Package proxy is the gate: a request is parsed once, its client is admitted,
// the tag is decided from verified trust data, and the answer is fetched by
// digest, checked and served. It does not know how trust is fetched or
// verified (package trustcache) nor how JSON is edited (package rewrite).
//
// What happens to a request, in the order of ServeHTTP; a change here is a
// change there:
//
//  1. A client that the operator does not let in, any more, is refused with 403
//     and its connection closed; one that asks for more than it may with 429,
//     whatever it asks for (clientlimits.go). CONNECT, TRACE and the target "*"
//     are refused with 405.
//  2. The Host chooses the registry: none or a malformed one is 400, one that
//     nobody configured 421. A target in absolute form counts as its Host. On a
//     mirror host, and on one that only "*" covers, containerd's ns chooses: one
//     that names none of the registries there is 421. Elsewhere it is dropped,
//     and no upstream ever hears it but in the query of a pass-path, which is
//     the client's own.
//     A target below a prefix that the operator opened is forwarded with
//     whatever comes and goes with it, as long as no reading of its path leads
//     elsewhere (passpaths.go, pour.go); else it is 404.
//     A request for a token, where the registry's own challenge puts its token
//     server on one of its hosts here, goes to the registry's host (tokens.go).
//  3. Methods other than GET and HEAD are refused, 405 below /v2/ and else 404,
//     where neither pushing nor publishing is let through.
//  4. The target is parsed into a Route (route.go); what is not in canonical
//     form is 404, a malformed digest or page 400. At Docker Hub a name of one
//     component gets its "library/" (dockerhub.go). From here on only the Route
//     speaks; the upstream hears nothing of what was refused.
//     A method that the kind of route does not have here is 405 (push.go).
//  5. A write goes to the registry with the client's own credentials, its body
//     as it comes, and is never repeated (push.go, exchange.go, sentbody.go); the
//     step of an upload to where its token says (uploads.go, uploadtoken.go).
//     What is published goes to the Notary server, and is read back before the
//     answer (trustwrite.go). Nothing of it depends on trust data.
//  6. A read, by kind of route:
//     - /v2/: with the client's own credentials the registry's answer, its
//     challenge untouched; else 200.
//     - a manifest by a tag that the repository's policy exempts: forwarded
//     (exempt.go). Else the policy's mode decides:
//     - a signature tag, enforced, where the registry passes them: fetched by
//     name, and served while nothing that could be run is in it (sigtags.go,
//     runnable.go).
//     - a manifest by tag, enforced: the trust cache says what is signed
//     (decide.go), the client is admitted by a by-digest read (authorise.go),
//     and the signed digest is fetched, checked and served (manifest.go).
//     - a manifest by tag, permissive: forwarded, and it is noted what
//     enforcing would have made of it (permissive.go).
//     - a tag list, enforced: the signed tags (tags.go) and the registry's that
//     are exempt; permissive: the registry's, with a warning.
//     - a manifest by digest, of a registry with a cache: from memory, the cache
//     or the registry (cached.go); one that would not be served by tag is forwarded.
//     - a blob, of a registry with a cache: the client is admitted by a read of
//     it, and then gets it from the cache, or reads along as it is fetched, once for
//     all (blob.go, fetch.go); a part of one that is not there is forwarded.
//     - any other manifest or blob by digest, referrers, and everything in mode
//     disabled: forwarded, the body untouched (forward.go).
//     - trust metadata: from the Notary server, byte for byte, where the
//     client may know of it (trust.go).
//     Before an offline registry there is nobody: what was loaded is served, and
//     what was not is 404 (offline.go).
//  7. Any error becomes an answer in one place (errors.go), the refusal of a tag
//     in the form that the registry is configured for (denial.go). What happened
//     is summed up (access.go) in one Entry, from which the access line is
//     written and the request's span ended (entry.go, tracing.go), and in one
//     Outcome.
package proxy
