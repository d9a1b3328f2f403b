# debian.sh PACKAGE: what becomes of a Debian system on which the package is
# installed, used, upgraded and purged. It runs on a copy of this machine's own
# system that nobody keeps, and ends at the first thing that is not as it must be.
set -eux
package=$1
export DEBIAN_FRONTEND=noninteractive

# Installed: all files as packed, a user of its own, nothing started.
dpkg --no-triggers --force-unsafe-io -i "$package"
test -z "$(dpkg --verify sealgate)"
test "$(stat -c '%U:%G %a' /usr/bin/sealgate)" = 'root:root 755'
test "$(getent passwd sealgate | cut -d : -f 6)" = /var/lib/sealgate
test ! -e /etc/systemd/system/multi-user.target.wants/sealgate.service
sealgate version
runuser -u sealgate -- sealgate check --config /etc/sealgate/proxy.yaml

# The unit is understood, and as closed as docs/install.md says (1.5).
systemd-analyze verify --recursive-errors=no sealgate.service
systemd-analyze security --offline=true --threshold=15 --no-pager sealgate.service >/dev/null

# Manual pages render, without a warning, and are found.
MANROFFOPT=-ww man --warnings --encoding=UTF-8 sealgate-serve 2>/tmp/warnings | grep -q drain-timeout
for page in /usr/share/man/man1/sealgate*.1.gz; do
	man --warnings --local-file "$page" 2>>/tmp/warnings >/dev/null
done
test ! -s /tmp/warnings || { cat /tmp/warnings; exit 1; }

# A real bash completes.
cat >/tmp/complete.bash <<'BASH'
source /usr/share/bash-completion/bash_completion
source /usr/share/bash-completion/completions/sealgate
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[ "${1% }" = "$1" ] || COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
__start_sealgate 2>/dev/null
printf '%s\n' "${COMPREPLY[@]}"
BASH
bash /tmp/complete.bash 'sealgate bun' | grep -qx 'bundle *'
bash /tmp/complete.bash 'sealgate doctor --emit k' | grep -qx 'kubernetes *'

# An upgrade leaves the administrator's configuration alone.
echo '# ours' >>/etc/sealgate/proxy.yaml
dpkg --no-triggers --force-unsafe-io -i "$package"
test "$(tail -n 1 /etc/sealgate/proxy.yaml)" = '# ours'

# Removed, configuration and state stay; a purge takes them.
mkdir -p /var/lib/sealgate/store
dpkg --no-triggers --remove sealgate
test ! -e /usr/bin/sealgate
test -e /etc/sealgate/proxy.yaml
test -d /var/lib/sealgate/store
dpkg --no-triggers --purge sealgate
test ! -e /etc/sealgate
test ! -e /var/lib/sealgate
