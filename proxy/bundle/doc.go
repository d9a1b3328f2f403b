// Package bundle carries signed images to a site that reaches neither registry
// nor trust server: one OCI image layout (image-spec v1.1) as a tar archive or a
// directory, and beside the images, below trust/, the TUF metadata that proves
// their tags.
//
//	oci-layout, index.json     the layout; one descriptor for each tag, of the very
//	                           digest that was signed, named REPO:TAG as publishers
//	                           type it (org.opencontainers.image.ref.name)
//	blobs/sha256/HEX           manifests, configurations, layers
//	trust/bundle.json          which metadata belongs to which repository, under the
//	                           names of Notary's protocol, and which tags are here
//	trust/sha256/HEX           that metadata, as the Notary server sent it
//
// Nothing of a bundle is believed for where it stands or what it says of itself.
// Load has the trust source of the site verify the metadata as if the Notary
// server had just sent it, with the site's own pins and floors; only what is
// signed then says which digests are wanted; and everything below those has to be
// there, with its digest. A bundle is taken whole or not at all.
//
// The package knows neither what verifies metadata nor where registries are: that
// comes in by what stands beside Load.
package bundle
