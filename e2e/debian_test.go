package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// throwawayRoot makes $root, a copy of this machine's system: what is written there
// is in memory, and ends with the mount namespace. Other file systems are not
// there. The directory $2 is /mnt in it.
const throwawayRoot = `set -eu
top=$1 root=$1/root given=$2 && shift 2
mount -t tmpfs tmpfs "$top"
mkdir "$top/upper" "$top/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
mount --bind -o ro "$given" "$root/mnt"
`

// inside runs a command there, as root.
const inside = throwawayRoot + `
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
exec chroot "$root" "$@"`

// booted installs the package $1 there, has systemd start the system, without a
// network and with nothing but what it needs itself, and runs the script $2 in it.
const booted = throwawayRoot + `
mount -t tmpfs tmpfs /run # nspawn's own notes
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires
chroot "$root" dpkg --no-triggers --force-unsafe-io -i "/mnt/$1"
umount "$root/mnt"
cp "$given/$1" "$root/mnt/given.deb"
printf '%s' "$2" >"$root/root/script"
cat >"$root/etc/systemd/system/script.service" <<EOF
[Unit]
DefaultDependencies=no
After=sysinit.target
[Service]
Type=oneshot
StandardOutput=file:/root/out
StandardError=file:/root/out
TimeoutStartSec=180
ExecStart=/bin/bash /root/script
ExecStopPost=/bin/systemctl poweroff --force --force
EOF
systemd-nspawn --quiet --private-network --register=no --keep-unit --machine sealgate-e2e -D "$root" --boot -- \
	systemd.unit=script.service >"$root/root/console" 2>&1 </dev/null || true
tail -n 20 "$root/root/console"
cat "$root/root/out"
tail -n 1 "$root/root/out" | grep -qx 'all as it must be'`

func runThrowaway(t *testing.T, how, given string, argv ...string) string {
	t.Helper()
	all := []string{"unshare", "--mount", "--propagation", "private", "sh", "-c", how, "sh", t.TempDir(), given}
	out, err := runWithin(4*time.Minute, "", []string{"HOME=/root", "TMPDIR=/tmp"}, append(all, argv...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDebianPackageInstallsUpgradesAndLeaves(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	script := string(must(os.ReadFile("testdata/debian.sh"))(t))
	runThrowaway(t, inside, r.dist, "sh", "-c", script, "sh", "/mnt/"+filepath.Base(r.path("amd64.deb")))
}

// TestSystemdStartsReloadsRestartsAndStopsIt under a systemd of its own.
func TestSystemdStartsReloadsRestartsAndStopsIt(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	script := string(must(os.ReadFile("testdata/systemd.sh"))(t))
	runThrowaway(t, booted, r.dist, filepath.Base(r.path("amd64.deb")), script)
}

// TestTarballIsInstalledAsTheDocumentSays runs the commands of docs/install.md.
func TestTarballIsInstalledAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	r := mustRelease(t)
	_, section, _ := strings.Cut(readText(t, "../docs/install.md"), "\n## Tarball\n")
	_, section, _ = strings.Cut(section, "```sh\n")
	commands, _, found := strings.Cut(section, "```\n")
	if !found {
		t.Fatal("no commands under Tarball in docs/install.md")
	}
	const use = `
test "$(sealgate version)" = "$(/usr/bin/sealgate version)"
runuser -u sealgate -- sealgate check --config /etc/sealgate/proxy.yaml
systemd-analyze verify --recursive-errors=no sealgate.service
man sealgate-serve | grep -q drain-timeout`
	runThrowaway(t, inside, r.dist, "sh", "-c", "set -eux\ncp -r /mnt /tmp/dist\ncd /tmp/dist\n"+commands+use)
}
