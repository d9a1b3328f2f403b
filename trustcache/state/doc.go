// Package state keeps what must outlive a process for trust never to go back:
// of each repository, named by its GUN, the newest verified root, the anchor it
// descends from and the floor of every role ever seen. It keeps them on one of
// distribution's storage drivers, which replicas may share.
//
// Drivers have no locks, no transactions and no rename, so nothing is ever
// modified. The state of a GUN is the join of immutable sets:
//
//	/sealgate/trust/sets/<sha256 of the GUN>/<epoch>-<sequence>-<sha256 of the set>
//	/sealgate/trust/index/<sha256 of the GUN>/<epoch>-known
//	/sealgate/trust/index/<sha256 of the GUN>/<epoch>-forgotten
//	/sealgate/trust/files/<sha256 of the GUN>/<sha256 of the file, or a name>
//
// Load reads all sets of the highest epoch and joins them: the highest floor
// for each role and signers, the root of the highest version. Save writes one
// set more, with a sequence number above those it has read, and only then
// deletes these. What is deleted is therefore always covered by something of a
// higher number that was stored before: a crash, and any order in which
// processes write and delete, leaves facts too many and never too few.
//
// The first Save writes its set and then the mark "known". Either of them makes
// the repository known, and a known one without a readable set is an error:
// loss or damage never looks like a repository that was never seen, which would
// have its first use again. Marks are not deleted, and only their names count.
// Forget writes the mark "forgotten" of the next epoch, from which on the sets
// of all lower ones count for nothing.
//
// Beside the state, files keeps the metadata itself, as it was fetched: without
// the server a snapshot can be built from it. Nothing depends on it.
//
// Two losses go unnoticed. Where a repository has several sets, which is until
// the Save after a crash or after two that wrote at once, one of them may go
// without a trace. And where all of a repository goes, from both directories,
// only a process that has seen it knows; for the loss of everything there is
// Empty.
//
// PutContent of a driver must be atomic: the whole object or none of it, after
// a crash too. That of the filesystem driver writes a temporary file, syncs it,
// renames it and syncs the directory; a bucket of S3 has an object or has it not.
// A list must name what was stored before it was asked for: S3 promises that. Of
// the filesystem driver, what it does not sync is the entry of a
// directory that it had to make: on a filesystem that does not order these by
// itself (ext4, XFS and Btrfs do), a power failure right after the first Save
// of a repository may undo all of it. It makes files of mode 0666 and directories
// of mode 0777, less the umask, and so do we through it: nothing stored here is
// secret, but nobody else may be able to write it, so give the root directory
// to Sealgate alone (mode 0700).
//
// The package refuses to know what a root or a signature is, and when a floor
// holds: package notary does.
package state
