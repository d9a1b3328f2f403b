package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// throwaway runs a command on a copy of this machine's system, as root: what it
// writes is in memory, and ends with it. Other file systems, /proc and /dev apart,
// are not there.
const throwaway = `set -eu
top=$1 && shift
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
mount --rbind /proc "$top/root/proc"
mount --rbind /dev "$top/root/dev"
mount -t tmpfs tmpfs "$top/root/run"
mount -t tmpfs tmpfs "$top/root/tmp"
mkdir "$top/root/tmp/given" && mount --bind "$1" "$top/root/tmp/given" && shift
exec chroot "$top/root" "$@"`

func runThrowaway(t *testing.T, given string, argv ...string) string {
	t.Helper()
	all := []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", throwaway, "sh", t.TempDir(), given}
	return mustRun(t, []string{"HOME=/root", "TMPDIR=/tmp"}, append(all, argv...)...)
}

func TestDebianPackageInstallsUpgradesAndLeaves(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	script := string(must(os.ReadFile("testdata/debian.sh"))(t))
	runThrowaway(t, r.dist, "sh", "-c", script, "sh", "/tmp/given/"+filepath.Base(r.path("amd64.deb")))
}
