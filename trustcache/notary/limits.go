package notary

// Limits bound what a Notary server can make this process read and hold.
// Sizes are in bytes.
type Limits struct {
	Root, Timestamp, Snapshot, Targets int64 // one file of the role
	Memory                             int64 // metadata being verified at once
	Roles                              int   // delegations of one repository
	Signatures                         int   // on one file
	Depth                              int   // nesting of JSON
}

// DefaultLimits are enough for about 80,000 tags in one role.
var DefaultLimits = Limits{
	Root:       1 << 20,
	Timestamp:  64 << 10,
	Snapshot:   4 << 20,
	Targets:    8 << 20,
	Memory:     32 << 20,
	Roles:      1000,
	Signatures: 64,
	Depth:      32,
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct{ value, fallback *int64 }{
		{&l.Root, &DefaultLimits.Root},
		{&l.Timestamp, &DefaultLimits.Timestamp},
		{&l.Snapshot, &DefaultLimits.Snapshot},
		{&l.Targets, &DefaultLimits.Targets},
		{&l.Memory, &DefaultLimits.Memory},
	} {
		if *f.value <= 0 {
			*f.value = *f.fallback
		}
	}
	for _, f := range []struct{ value, fallback *int }{
		{&l.Roles, &DefaultLimits.Roles},
		{&l.Signatures, &DefaultLimits.Signatures},
		{&l.Depth, &DefaultLimits.Depth},
	} {
		if *f.value <= 0 {
			*f.value = *f.fallback
		}
	}
	// A file that does not fit would wait for ever.
	l.Memory = max(l.Memory, l.Root, l.Timestamp, l.Snapshot, l.Targets)
	return l
}
