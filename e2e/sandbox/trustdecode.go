package sandbox

import (
	"encoding/json"

	"github.com/theupdateframework/notary/tuf/data"
)

// maxNesting bounds how deep metadata may nest: the canonical JSON package
// under the signature check recurses without a limit of its own.
const maxNesting = 32

// decodeSigned takes metadata apart without believing any of it. The result
// has a signed part, which the library's functions take for granted.
func decodeSigned(raw []byte) (*data.Signed, data.SignedCommon, error) {
	if tooDeep(raw) {
		return nil, data.SignedCommon{}, errJSON
	}
	decoded := &data.Signed{}
	if err := json.Unmarshal(raw, decoded); err != nil || decoded.Signed == nil {
		return nil, data.SignedCommon{}, errJSON
	}
	var common data.SignedCommon
	if err := json.Unmarshal(*decoded.Signed, &common); err != nil || common.Version < 1 {
		return nil, data.SignedCommon{}, errJSON
	}
	return decoded, common, nil
}

// tooDeep says whether raw opens more than maxNesting brackets at once. It
// need not understand anything else: a string can only make it count too many.
func tooDeep(raw []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxNesting {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

func parseRoot(raw []byte) (*data.SignedRoot, error) {
	decoded, _, err := decodeSigned(raw)
	if err != nil {
		return nil, err
	}
	return data.RootFromSigned(decoded)
}

func parseTargets(role data.RoleName, raw []byte) (*data.SignedTargets, error) {
	decoded, _, err := decodeSigned(raw)
	if err != nil {
		return nil, err
	}
	return data.TargetsFromSigned(decoded, role)
}
