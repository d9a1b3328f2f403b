// Package sandbox is a small world to try Sealgate in: a certificate
// authority, a real registry, a Notary v1 trust server, a publisher that signs
// tags, and images to sign, all in one process, on loopback, in memory.
//
// "sealgate demo" performs in it and tests stand in front of it, so every part
// is a real one where a real one can be had: the registry is the distribution
// registry, the publisher is the Notary client library, and the trust server,
// which is our own, is held to the notary and docker trust command lines.
//
// It is no place to keep anything. Everything is gone with the process, private
// keys have a published passphrase, and nothing listens beyond loopback unless
// it is told to.
package sandbox
