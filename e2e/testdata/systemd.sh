# The unit of the Debian package under a systemd that has started this system.
set -eux
PS4='+ $SECONDS '
property() { systemctl show --property "$1" --value sealgate; }

# A port below 1024, a secret that root alone may read.
cd /etc/sealgate
sed -i 's/^listen: .*/listen: 0.0.0.0:443/' proxy.yaml
install -m 0600 /dev/null tls.key
mkdir -p /etc/systemd/system/sealgate.service.d
printf '[Service]\nLoadCredential=tls.key:/etc/sealgate/tls.key\n' >/etc/systemd/system/sealgate.service.d/ours.conf
systemctl daemon-reload

# Started is when it serves.
systemctl start sealgate
test "$(property StatusText)" = serving
curl --silent --fail http://127.0.0.1:8444/readyz
curl --silent --insecure --output /dev/null https://127.0.0.1/v2/
pid=$(property MainPID)
test "$(stat -c %U "/proc/$pid")" = sealgate
grep -q '^CapEff:.*0000000000000400$' "/proc/$pid/status" # CAP_NET_BIND_SERVICE
grep -q '^NoNewPrivs:.*1$' "/proc/$pid/status"
grep -q '^Seccomp:.*2$' "/proc/$pid/status"
test "$(stat -c '%U %a' /run/credentials/sealgate.service/tls.key)" = 'sealgate 400'
test "$(stat -c '%U %a' /var/lib/sealgate)" = 'sealgate 700'
ss --listening --tcp --numeric | grep -q '4096 .*:443 ' # the kernel's backlog, not Go's 128
runuser -u sealgate -- sealgate forget registry.example.com/none || test $? = 1 # by the control socket

# Reloaded, or refused with the reason; the same process serves on.
sed -i 's/^drain-timeout: .*/drain-timeout: 3s/' proxy.yaml
systemctl reload sealgate
test "$(property StatusText)" = 'serving, configuration reloaded'
echo 'bad: key' >>proxy.yaml
! systemctl reload sealgate
journalctl --unit sealgate --output cat | grep -q 'bad: unknown key'
test "$(systemctl is-active sealgate)" = active
test "$(property MainPID)" = "$pid"
sed -i '$d' proxy.yaml

# Started again after a crash.
kill -KILL "$pid"
until [ "$(property NRestarts)" = 1 ] && [ "$(systemctl is-active sealgate)" = active ]; do sleep 0.1; done
curl --silent --fail http://127.0.0.1:8444/readyz

systemctl stop sealgate
test "$(property Result) $(property ExecMainStatus)" = 'success 0'

# An upgrade starts nothing that does not run.
dpkg --no-triggers --force-unsafe-io -i /mnt/given.deb
! systemctl is-active sealgate
systemctl enable --now sealgate
test "$(systemctl is-active sealgate)" = active
echo all as it must be
