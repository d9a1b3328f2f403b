// Package trustcache answers one question for the proxy: which tags of this
// repository are vouched for, for which digest, by whom, and until when.
//
// It keeps immutable verified snapshots in an LRU bounded by bytes, asks its
// Source again when a snapshot has been used long enough, makes at most one
// such request per repository at a time, and lets the last verified snapshot
// stand while the source gives no good answer.
//
// It refuses to know how trust is fetched or verified (that is the Source's
// business: Notary v1 in package notary) and what a request or a status code
// is (that is the proxy's).
package trustcache
