package upstream

import (
	"errors"
	"fmt"
	"strings"
)

// challenge is one of a WWW-Authenticate header (RFC 9110 section 11.6.1).
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// Bounds of what is read of challenges, each with room to spare over what
// registries send.
const (
	maxChallengeBytes = 8 << 10 // of all of an answer's
	maxChallenges     = 16
	maxParams         = 16 // of one challenge
)

// parseChallenges reads the values of WWW-Authenticate. A value that is not in
// the form of RFC 9110 counts for nothing, the others count; what is more than
// the bounds is not looked at.
func parseChallenges(values []string) []challenge {
	var all []challenge
	size := 0
	for _, value := range values {
		if size += len(value); size > maxChallengeBytes {
			break
		}
		if found, err := parseChallenge(value); err == nil {
			all = append(all, found...)
		}
	}
	return all[:min(len(all), maxChallenges)]
}

var errChallenge = errors.New("not in the form of a challenge")

// parseChallenge reads one value, which may hold several challenges:
//
//	#( auth-scheme [ 1*SP ( token68 / #auth-param ) ] )
func parseChallenge(value string) ([]challenge, error) {
	p := &challengeReader{rest: value}
	var all []challenge
	for p.commas(); p.rest != ""; p.commas() {
		c := challenge{scheme: strings.ToLower(p.token()), params: map[string]string{}}
		if c.scheme == "" || len(all) == maxChallenges {
			return nil, errChallenge
		}
		if spaces := p.spaces(); spaces && !p.atEnd() && !p.token68() {
			if err := p.readParams(c.params); err != nil {
				return nil, err
			}
		}
		if !p.atEnd() {
			return nil, errChallenge
		}
		all = append(all, c)
	}
	return all, nil
}

// challengeReader reads from the left.
type challengeReader struct{ rest string }

// readParams reads auth-params up to the end or the next challenge.
func (p *challengeReader) readParams(into map[string]string) error {
	for {
		name, value, err := p.param()
		if err != nil {
			return err
		}
		if _, twice := into[name]; twice || len(into) == maxParams {
			return fmt.Errorf("%w: %.40q is given twice, or one of too many", errChallenge, name)
		}
		into[name] = value
		if !p.atEnd() {
			return errChallenge
		}
		next := challengeReader{p.rest}
		next.commas()
		ahead := next
		if ahead.token(); !ahead.equals() {
			return nil // the end, or another challenge
		}
		*p = next
	}
}

// param reads token BWS "=" BWS ( token / quoted-string ).
func (p *challengeReader) param() (name, value string, err error) {
	name = strings.ToLower(p.token())
	if name == "" || !p.equals() {
		return "", "", errChallenge
	}
	if strings.HasPrefix(p.rest, `"`) {
		value, err = p.quoted()
	} else if value = p.token(); value == "" {
		err = errChallenge
	}
	p.spaces()
	return name, value, err
}

// quoted reads a quoted-string (RFC 9110 section 5.6.4).
func (p *challengeReader) quoted() (string, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), nil
		case c == '\\' && i+1 < len(p.rest):
			i++
			c = p.rest[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", errChallenge
		}
		b.WriteByte(c)
	}
	return "", errChallenge
}

// token reads a token (RFC 9110 section 5.6.2), "" where there is none.
func (p *challengeReader) token() string {
	i := 0
	for i < len(p.rest) && isTokenByte(p.rest[i]) {
		i++
	}
	token := p.rest[:i]
	p.rest = p.rest[i:]
	return token
}

// token68 passes over what some schemes have instead of parameters, where it
// is the whole of what they have.
func (p *challengeReader) token68() bool {
	after := challengeReader{strings.TrimLeft(p.rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/")}
	if len(after.rest) == len(p.rest) {
		return false
	}
	after.rest = strings.TrimLeft(after.rest, "=")
	after.spaces()
	if !after.atEnd() {
		return false
	}
	*p = after
	return true
}

// equals reads "=" with what blanks are around it.
func (p *challengeReader) equals() bool {
	p.spaces()
	rest, found := strings.CutPrefix(p.rest, "=")
	if found {
		p.rest = rest
		p.spaces()
	}
	return found
}

// spaces passes over blanks and says whether there were any.
func (p *challengeReader) spaces() bool {
	rest := strings.TrimLeft(p.rest, " \t")
	some := len(rest) < len(p.rest)
	p.rest = rest
	return some
}

// commas passes over blanks and commas between the elements of a list, which
// may be empty (RFC 9110 section 5.6.1.2).
func (p *challengeReader) commas() { p.rest = strings.TrimLeft(p.rest, " \t,") }

// atEnd says whether an element of the list ends here.
func (p *challengeReader) atEnd() bool { return p.rest == "" || p.rest[0] == ',' }

func isTokenByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
