package notary

import (
	"fmt"
	"strconv"
)

// rootPrefix begins the names of root versions among the files: the version
// follows.
const rootPrefix = "root"

func rootName(version int) string { return rootPrefix + strconv.Itoa(version) }

// firstRootKept is the oldest version that is kept with the trusted root: no
// client follows more rotations at once than an update here does.
func (u *update) firstRootKept() int { return max(1, u.root.version-maxRootSteps) }

// rootNames are what root versions up to the trusted one are called, whether or
// not they are kept.
func (u *update) rootNames() []string {
	var names []string
	for version := u.firstRootKept(); version <= u.root.version; version++ {
		names = append(names, rootName(version))
	}
	return names
}

// keepRoots keeps the versions of the root, from the trusted one back to the
// first. One belongs to them when its keys signed the one after it: that is the
// step that clients take which know it and no newer one. Where a version cannot
// be had, those before it lead nowhere.
func (u *update) keepRoots() {
	if !u.keep(rootName(u.root.version), u.root.raw) {
		return
	}
	after := u.root
	for version := u.root.version - 1; version >= u.firstRootKept(); version-- {
		before, err := u.rootBefore(after, version)
		if err != nil {
			u.unkept(fmt.Errorf("root %d of %s, and what is older: %w", version, u.gun, err))
			return
		}
		after = before
	}
}

// rootBefore returns the root of that version which after follows: the kept one,
// or the server's, which is kept.
func (u *update) rootBefore(after *root, version int) (before *root, err error) {
	limit := u.source.opts.Limits.Root
	if raw, err := u.source.opts.Files.File(u.gun, rootName(version), limit); err == nil {
		if before, err = u.leadsTo(raw, after, version); err == nil {
			return before, nil
		}
	}
	err = u.file(fmt.Sprintf("%d.root.json", version), limit, false, func(raw []byte) (err error) {
		if before, err = u.leadsTo(raw, after, version); err == nil {
			u.keep(rootName(version), raw)
		}
		return u.bad("root", err)
	})
	return before, err
}

// leadsTo verifies a root of that version with its own keys, and after with them.
func (u *update) leadsTo(raw []byte, after *root, version int) (*root, error) {
	before, err := u.readRoot(raw, nil)
	if err != nil {
		return nil, err
	}
	if before.version != version {
		return nil, fmt.Errorf("%d.root.json holds version %d", version, before.version)
	}
	env, err := u.source.openEnvelope(after.raw)
	if err != nil {
		return nil, err
	}
	if _, _, err := verify(env, before.roles["root"]); err != nil {
		return nil, fmt.Errorf("version %d with the keys of %d: %w", after.version, version, err)
	}
	return before, nil
}
