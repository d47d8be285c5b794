package server

import "strings"

// Unmarshal reads one JSON value, as the bodies of typed operations are read: it refuses what nests too deep.
func Unmarshal(data []byte, into any) error { return unmarshal(data, into) }

// Clip makes text that a caller gave about itself, such as a User-Agent, fit to be kept: valid UTF-8 of at most limit
// bytes.
func Clip(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	return text
}
