package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sealgate/sealgate/config"
	"github.com/sealgate/sealgate/proxy"
	"github.com/sealgate/sealgate/trustcache"
	"github.com/sealgate/sealgate/trustcache/notary"
	"github.com/spf13/cobra"
)

// approveTimeout bounds asking registry and Notary.
const approveTimeout = time.Minute

func approveCommand(stdout io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "approve REPO:TAG",
		Short: "Print the commands that sign what the registry has for a tag now",
		Long: `Ask the registry what it has for a tag, check the bytes, and print the commands of
the notary client that sign exactly that: for whoever decides which of somebody
else's images are served. Nothing is signed, and nothing changed, by approve
itself. Look at the image first; run the commands where your keys are.

The output is a shell script in which all but the commands is comment. The
repository is begun ("init") where the Notary server has no trust data for it,
as far as verified trust data says.

The registry is asked with the credentials of the configuration, or, where those
are passthrough, with those that "docker login" has stored for it. REPO is the
full name (registry.example.com/app), or without the registry's name where the
configuration has only one registry. Where it has docker.io, an image of Docker
Hub has its short name too (alpine).

Exit codes: 0 the commands were printed, or the tag is signed so already; 1 there
is nothing that can be signed, or it cannot be known; 2 bad usage.`,
		Args: oneReference("REPO:TAG"),
	}
	path := configFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := loadConfig(*path)
		if err != nil {
			return err
		}
		registry, gun, tag, err := parseInspect(cfg, args[0])
		if err != nil {
			return err
		}
		switch reg := cfg.Registries[registry]; {
		case tag == "":
			return usage("%q: a tag is expected, as in %s:latest", args[0], args[0])
		case reg.Offline != nil:
			return usage("%s is offline in the configuration: approve where its registry and its Notary are", reg.Name)
		case reg.Notary.URL == nil:
			return usage("%s has no notary.url in the configuration: there is nowhere to sign", reg.Name)
		case reg.Upstream == nil:
			return usage("%s has no upstream in the configuration: there is nobody to ask for the tag", reg.Name)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), approveTimeout)
		defer cancel()
		a, err := approve(ctx, cfg, registry, gun, tag)
		if err != nil {
			return failed(err)
		}
		return failed(a.print(stdout))
	}
	return cmd
}

// approval is what there is to sign for a tag.
type approval struct {
	gun, tag string
	registry config.Registry
	policy   config.Policy
	signers  map[string]config.Signer
	image    *proxy.Resolved
	view     trustcache.View
	trust    error // nil, or trustcache.ErrNoTrustData or ErrUnpinned: there is no view
	pinned   bool  // or first use counts
}

func approve(ctx context.Context, cfg *config.Config, registry int, gun, tag string) (*approval, error) {
	source, err := openSigned(cfg, registry)
	if err != nil {
		return nil, err
	}
	defer source.close()
	reg := cfg.Registries[registry]
	a := &approval{
		gun: gun, tag: tag, registry: reg, signers: cfg.ContentTrust.Signers,
		policy: *policies(cfg.ContentTrust, func(p config.Policy) *config.Policy { return &p })(gun),
		pinned: source.rules.pins(gun).Kind != notary.Pins{}.Kind || cfg.ContentTrust.TrustOnFirstUse,
	}
	if a.image, err = proxy.Resolve(ctx, source.proxied, strings.TrimPrefix(gun, reg.Name+"/"), tag); err != nil {
		return nil, fmt.Errorf("%s:%s at %s: %w", gun, tag, reg.Upstream.Host, err)
	}
	a.view, a.trust = source.trust.Tag(ctx, gun, tag)
	if a.trust != nil && !errors.Is(a.trust, trustcache.ErrNoTrustData) && !errors.Is(a.trust, trustcache.ErrUnpinned) {
		return nil, fmt.Errorf("what is signed for %s cannot be known, and so not what to sign: %w", gun, a.trust)
	}
	return a, nil
}

// signed is what counts for the tag now.
func (a *approval) signed() proxy.Decision { return proxy.Decide(a.gun, a.tag, a.view, a.trust) }

// commands are those that sign, in order; none where nothing is left to do.
func (a *approval) commands() [][]string {
	now := a.signed()
	if now.Denial == nil && now.Target.Digest.String() == a.image.Digest {
		return nil
	}
	var all [][]string
	if errors.Is(a.trust, trustcache.ErrNoTrustData) {
		all = append(all, a.notary("init", "-p", a.gun))
	}
	for _, role := range a.roles(now.Target) {
		add := a.notary("addhash", "-p", a.gun, a.tag, fmt.Sprint(a.image.Size), "--sha256", strings.TrimPrefix(a.image.Digest, "sha256:"))
		if role != "targets" {
			add = append(add, "-r", role)
		}
		all = append(all, add)
	}
	return all
}

// notary is one command of the notary client at this registry's server.
func (a *approval) notary(arguments ...string) []string {
	command := []string{"notary", "-s", a.registry.Notary.URL.String()}
	if a.registry.Notary.CAFile != "" {
		command = append(command, "--tlscacert", a.registry.Notary.CAFile)
	}
	return append(append(command, "-d", dockerTrust), arguments...)
}

// dockerTrust is where docker keeps its keys, which the notary client then
// shares; the shell expands it.
const dockerTrust = "~/.docker/trust"

// roles are those to sign in: one whose word counts, and those of required
// signers. The repository's own keys sign targets, unless a role that comes
// before it has another digest for the tag.
func (a *approval) roles(now trustcache.Target) []string {
	decides := "targets"
	switch {
	case len(a.policy.Roles) > 0 && !slices.Contains(a.policy.Roles, decides):
		decides = a.policy.Roles[0]
	case now.Role != "":
		decides = now.Role
	}
	roles := []string{decides}
	for _, name := range a.policy.RequiredSigners {
		if role := a.signers[name].Role; role != "" && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	return roles
}

// print writes the script.
func (a *approval) print(w io.Writer) error {
	var b strings.Builder
	say := func(format string, values ...any) { fmt.Fprintf(&b, "# "+format+"\n", values...) }
	say("%s:%s, as %s has it now:", a.gun, a.tag, a.registry.Upstream.Host)
	say("  digest      %s", a.image.Digest)
	say("  size        %d bytes", a.image.Size)
	say("  media type  %s", plain(a.image.MediaType))
	if len(a.image.Platforms) > 0 {
		say("  platforms   %s", plain(strings.Join(a.image.Platforms, ", ")))
	}
	now := a.signed()
	switch {
	case now.Denial == nil && now.Target.Digest.String() == a.image.Digest:
		say("  signed now  this digest, in %s: nothing is left to do", now.Target.Role)
	case now.Denial == nil:
		say("  signed now  another: %s, in %s", now.Target.Digest, now.Target.Role)
	default:
		say("  signed now  not so that it counts: %s", plain(now.Denial.Message))
	}
	a.notes(say)
	for _, command := range a.commands() {
		b.WriteString(shell(command) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// notes are what the commands alone will not achieve.
func (a *approval) notes(say func(string, ...any)) {
	switch {
	case a.policy.Mode != config.Enforced:
		say("The mode for this repository is %s: its tags are served whether signed or not.", a.policy.Mode)
	case (&proxy.Policy{Exempt: a.policy.ExemptTags}).Exempts(a.tag):
		say("A policy exempts this tag: it is served whether signed or not.")
	}
	if !a.pinned {
		say("No pin covers %s: it stays hidden until its root key is in trust-pinning.root-keys", a.gun)
		say(`(the key that "notary -d %s key list" shows as root).`, dockerTrust)
	}
	if commands := a.commands(); len(commands) == 0 {
		return
	}
	for _, role := range a.roles(a.signed().Target) {
		if role != "targets" && !a.has(role) {
			say("The repository has no role %s yet: appoint it first, with", role)
			say("  %s", shell(a.notary("delegation", "add", "-p", a.gun, role, "SIGNER.pem", "--all-paths")))
		}
	}
	for _, name := range a.policy.RequiredSigners {
		if a.signers[name].Role == "" {
			say("The policy also demands the signer %s: whoever has that key signs the same, in a role of theirs (addhash … -r ROLE).", name)
		}
	}
}

// has says whether the verified trust data has a role.
func (a *approval) has(role string) bool {
	if a.view.Snapshot == nil {
		return false
	}
	return slices.ContainsFunc(a.view.Evidence(), func(e trustcache.Evidence) bool { return e.Role == role })
}

// plain is text of somebody else's that cannot leave the line it is on.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' {
			return '?'
		}
		return r
	}, text)
}

// shell quotes a command for a POSIX shell, but for the "~" of dockerTrust.
func shell(command []string) string {
	quoted := make([]string, len(command))
	for i, word := range command {
		quoted[i] = word
		if word != dockerTrust && strings.Trim(word, shellSafe) != "" {
			quoted[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// shellSafe are characters that no shell reads as anything but themselves.
const shellSafe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@%+=,"
