package recovery

import (
	"crypto/rand"
	"crypto/subtle"
	"strings"
	"unicode"

	"tutela/storage"
)

// alphabet is Crockford's base 32: no I, L, O or U.
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	codeLength   = 24
	codeRandom   = codeLength - 1 // 23 × 5 = 115 bits; from 112 bits on NIST asks for no password hash
	maxCodeInput = 256            // bytes of what a person may have typed or pasted
)

// Code is a recovery code in its plain form: 24 characters of the alphabet, the last of which checks the others.
type Code string

// ErrTypo reports a string that cannot be a code; it costs no attempt.
var ErrTypo = storage.NewError(storage.Invalid, "the recovery code is not right")

// newCode draws a code.
func newCode() Code {
	random := make([]byte, codeRandom)
	_, _ = rand.Read(random) // never fails: see crypto/rand
	code := make([]byte, codeRandom, codeLength)
	for i, b := range random {
		code[i] = alphabet[b%32] // 256 is a multiple of 32: no character is likelier than another
	}
	return Code(append(code, checkCharacter(string(code))))
}

// ParseCode reads a code as a person typed or pasted it. It ignores case, spaces, dashes, invisible characters, and the dots,
// quotes and underscores that messengers add. It reads full-width forms as plain ones, and I, L and O as the digits that they
// look like.
//
// Errors: ErrTypo, when the check character is wrong or the string can be no code.
func ParseCode(typed string) (Code, error) {
	if len(typed) > maxCodeInput {
		return "", ErrTypo
	}
	plain := strings.Map(forgive, typed)
	if len(plain) != codeLength || strings.Trim(plain, alphabet) != "" {
		return "", ErrTypo
	}
	if plain[codeRandom] != checkCharacter(plain[:codeRandom]) {
		return "", ErrTypo
	}
	return Code(plain), nil
}

// shortestEnd is how many characters show that somebody has a code before their eyes.
const shortestEnd = 4

// Ends reports whether typed is the end of the code, its last four characters or more, as a person typed it.
func (c Code) Ends(typed string) bool {
	if len(typed) > maxCodeInput {
		return false
	}
	end := strings.Map(forgive, typed)
	if len(end) < shortestEnd || len(end) > len(c) {
		return false
	}
	return subtle.ConstantTimeCompare([]byte(end), []byte(c[len(c)-len(end):])) == 1
}

// forgive returns the character that a person meant by r; -1 for none.
func forgive(r rune) rune {
	if firstFullWidth <= r && r <= lastFullWidth {
		r -= firstFullWidth - '!'
	}
	switch {
	case unicode.IsSpace(r), unicode.In(r, unicode.Dash, unicode.Cf, unicode.Quotation_Mark), strings.ContainsRune("._`´·•․…", r):
		return -1
	case 'a' <= r && r <= 'z': // and no other alphabet's: the Turkish dotless i is no 1
		r -= 'a' - 'A'
	}
	switch r {
	case 'I', 'L':
		return '1'
	case 'O':
		return '0'
	}
	return r
}

// The full-width forms of the characters from ! to ~, as East Asian keyboards type them.
const (
	firstFullWidth = '\uff01'
	lastFullWidth  = '\uff5e'
)

// checkCharacter returns the check character of a code, by Luhn's algorithm in base 32, in the alphabet's order. It reveals
// every single wrong character and nearly every swap of two neighbours.
//
// Source: ISO/IEC 7812-1 annex B, generalised to base 32.
func checkCharacter(body string) byte {
	sum := 0
	factor := 2
	for i := len(body) - 1; i >= 0; i-- {
		addend := factor * strings.IndexByte(alphabet, body[i])
		sum += addend/32 + addend%32
		factor = 3 - factor
	}
	return alphabet[(32-sum%32)%32]
}
