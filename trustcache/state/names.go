package state

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Where objects are, on the driver.
const (
	top       = "/sealgate/trust"
	setsTop   = top + "/sets"
	indexTop  = top + "/index"
	filesTop  = top + "/files"
	probesTop = top + "/probes"
)

// The kinds of marks in the index.
const (
	known     = "known"     // the epoch has sets
	forgotten = "forgotten" // the epoch began with nothing
)

// directory is where the objects of a GUN are: by hash, since a GUN is what a
// stranger typed, and drivers allow only some characters.
func directory(top, gun string) string {
	return fmt.Sprintf("%s/%x", top, sha256.Sum256([]byte(gun)))
}

// setName is the name of a set.
type setName struct {
	epoch    uint64
	sequence uint64
	hash     string // sha256 of the set, in hexadecimal
}

func (n setName) path(gun string) string {
	return fmt.Sprintf("%s/%016x-%016x-%s", directory(setsTop, gun), n.epoch, n.sequence, n.hash)
}

func markPath(gun string, epoch uint64, kind string) string {
	return fmt.Sprintf("%s/%016x-%s", directory(indexTop, gun), epoch, kind)
}

var (
	setPattern  = regexp.MustCompile(`^([0-7][0-9a-f]{15})-([0-7][0-9a-f]{15})-([0-9a-f]{64})$`)
	markPattern = regexp.MustCompile(`^([0-7][0-9a-f]{15})-(` + known + `|` + forgotten + `)$`)
)

func parseSetName(name string) (n setName, ok bool) {
	m := setPattern.FindStringSubmatch(name)
	if m == nil {
		return n, false
	}
	return setName{epoch: number(m[1]), sequence: number(m[2]), hash: m[3]}, true
}

func parseMark(name string) (epoch uint64, kind string, ok bool) {
	m := markPattern.FindStringSubmatch(name)
	if m == nil {
		return 0, "", false
	}
	return number(m[1]), m[2], true
}

// number reads what a pattern has matched. The patterns leave out the upper
// half of all numbers, so that there is always a next one.
func number(digits string) uint64 {
	n, _ := strconv.ParseUint(digits, 16, 64)
	return n
}

// temporary says whether it is a file that the filesystem driver, or the
// filesystem, made on its own account and that was never an object.
func temporary(object string) bool {
	name := path.Base(object)
	return strings.HasSuffix(name, ".tmp") || strings.HasPrefix(name, ".")
}
