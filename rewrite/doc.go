// Package rewrite holds the pure edits on what goes back to a client: tag
// lists, Link, Location and the set of response headers. It knows no request,
// clock, logger or network.
package rewrite
