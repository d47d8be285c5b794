package server

import (
	"bytes"
	"errors"
	"hash/maphash"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	json "github.com/go-json-experiment/json/v1"

	"tutela/storage"
)

const (
	maxDepth   = 64 // how deep arrays and objects of a body may nest
	fewMembers = 16 // of an object, whose names are compared one by one
)

// Errors of a body. None repeats a value from it, which may be a secret.
var (
	ErrMemberTwice = storage.NewError(storage.Invalid, "a member is there twice")
	errTooDeep     = storage.NewError(storage.Invalid, "arrays and objects nest too deep")
	errNoText      = storage.NewError(storage.Invalid, "the body is no Unicode text")
	errNoJSON      = storage.NewError(storage.Invalid, "the body is no JSON")
	errWrongType   = storage.NewError(storage.Invalid, "a value has another type than is wanted there")
)

// Unmarshal reads one JSON value, as all APIs read their bodies. It refuses a body that another program could read
// differently: one that nests deeper than maxDepth, one that is not Unicode throughout, and one with an object that has two
// names which differ only in case, since the decoder takes both for the same member. It skips a byte order mark at the beginning.
//
// Errors: ErrMemberTwice; others with code storage.Invalid, which name a member and never its value.
//
// Source: RFC 8259 §4 (names should be unique), §8.1 (byte order mark).
func Unmarshal(data []byte, into any) error {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !isUnicode(data) {
		return errNoText
	}
	var members memberScan
	if err := members.scan(data); err != nil {
		return err
	}
	err := json.Unmarshal(data, into)
	if err == nil {
		return nil
	}
	var (
		ours   *storage.Error
		syntax *json.SyntaxError
		kind   *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &ours):
		return ours
	case errors.As(err, &syntax):
		return errNoJSON
	case errors.As(err, &kind) && kind.Field != "":
		return errWrongType.With("%s has another type than is wanted there", kind.Field)
	}
	return errWrongType
}

// isUnicode reports whether a JSON text is UTF-8, and each escaped half of a surrogate pair has its other half. The decoder
// would replace everything else by one and the same character, and so make one id out of two.
//
// Source: RFC 8259 §8.1, §8.2.
func isUnicode(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for at := bytes.IndexByte(data, '\\'); at >= 0; at = bytes.IndexByte(data, '\\') {
		data = data[at:]
		unit, ok := codeUnit(data)
		switch {
		case !ok:
			data = data[min(2, len(data)):]
		case utf16.IsSurrogate(unit):
			other, _ := codeUnit(data[escapeBytes:])
			if utf16.DecodeRune(unit, other) == utf8.RuneError {
				return false
			}
			data = data[2*escapeBytes:]
		default:
			data = data[escapeBytes:]
		}
	}
	return true
}

const escapeBytes = len(`\u0000`)

// codeUnit reads the UTF-16 code unit of the escape at the beginning of data; ok is false when there is no escape.
func codeUnit(data []byte) (unit rune, ok bool) {
	if len(data) < escapeBytes || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(data[2:escapeBytes]), 16, 16)
	return rune(n), err == nil
}

// memberScan searches a JSON text for nesting that is too deep and for members that are there twice. It knows only as much
// of the grammar as that takes; the decoder finds out whether the text is JSON at all.
type memberScan struct {
	depth  int
	levels [maxDepth]level
	names  [4 * fewMembers]uint64 // hashes of the names of all open objects, the innermost last
	count  int                    // how many names there are
	many   map[memberName]struct{}
	folded [64]byte
}

// level is an open array or object.
type level struct {
	isObject bool
	wantName bool // the next string is a name
	serial   int  // tells the objects of a text apart
	first    int  // index of its first name
	crowded  bool // its names are in memberScan.many
}

// memberName is a member of an object that has many.
type memberName struct {
	serial int
	hash   uint64
}

// nameSeed makes it impossible to choose names whose hashes are equal.
var nameSeed = maphash.MakeSeed()

func (m *memberScan) scan(data []byte) error {
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			if m.depth == maxDepth {
				return errTooDeep
			}
			m.levels[m.depth] = level{
				isObject: data[i] == '{',
				wantName: data[i] == '{',
				serial:   i,
				first:    m.count,
			}
			m.depth++
		case '}', ']':
			if m.depth > 0 {
				m.depth--
				m.count = m.levels[m.depth].first
			}
		case ',':
			if m.depth > 0 {
				m.levels[m.depth-1].wantName = m.levels[m.depth-1].isObject
			}
		case '"':
			length := stringLength(data[i:])
			if m.depth > 0 && m.levels[m.depth-1].wantName {
				m.levels[m.depth-1].wantName = false
				if m.isThere(&m.levels[m.depth-1], data[i:i+length]) {
					return ErrMemberTwice
				}
			}
			i += length - 1
		}
	}
	return nil
}

// stringLength returns the length of the JSON string at the beginning of data, in bytes, with its quotes.
func stringLength(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// isThere reports whether an object has a name already, and adds it.
func (m *memberScan) isThere(object *level, quoted []byte) bool {
	hash := maphash.Bytes(nameSeed, m.fold(quoted))
	own := m.names[object.first:m.count]
	if !object.crowded && len(own) < fewMembers && m.count < len(m.names) {
		for _, other := range own {
			if other == hash {
				return true
			}
		}
		m.names[m.count] = hash
		m.count++
		return false
	}
	// Comparing each with each would take too long here.
	if m.many == nil {
		m.many = map[memberName]struct{}{}
	}
	if !object.crowded {
		object.crowded = true
		for _, other := range own {
			m.many[memberName{object.serial, other}] = struct{}{}
		}
	}
	name := memberName{object.serial, hash}
	_, there := m.many[name]
	m.many[name] = struct{}{}
	return there
}

// fold returns a name as the decoder compares it: without escapes, and with one letter for all letters that differ only in case.
func (m *memberScan) fold(quoted []byte) []byte {
	name := quoted[1:max(1, len(quoted)-1)]
	if bytes.IndexByte(name, '\\') >= 0 {
		var text string
		if json.Unmarshal(quoted, &text) == nil {
			name = []byte(text)
		}
	}
	folded := m.folded[:0]
	for len(name) > 0 {
		if b := name[0]; b < utf8.RuneSelf {
			if 'a' <= b && b <= 'z' {
				b -= 'a' - 'A'
			}
			folded = append(folded, b)
			name = name[1:]
			continue
		}
		r, size := utf8.DecodeRune(name)
		folded = utf8.AppendRune(folded, foldRune(r))
		name = name[size:]
	}
	return folded
}

// foldRune returns the smallest of the letters that differ from r only in case. For an ASCII letter that is the capital.
//
// Source: encoding/json, which folds names so.
func foldRune(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
