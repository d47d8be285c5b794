package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// plainlyFramed reports whether nobody on the way can have read a request's header otherwise than we do: who takes
// another field for the one that says where the body ends takes a part of the body for a request of its own. The engine
// lets such requests pass.
//
// Source: RFC 9112 §3.2 (one Host), §5.1 (no space before the colon), §6.1 (not a length and an encoding).
func plainlyFramed(h *fasthttp.RequestHeader) bool {
	hosts := 0
	lengths := 0
	encodings := 0
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		name, _, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || isBlank(name[0]) { // the end, or a folded line
			continue
		}
		switch {
		case isBlank(name[len(name)-1]):
			return false
		case isField(name, "Host"):
			hosts++
		case isField(name, fasthttp.HeaderContentLength):
			lengths++
		case isField(name, fasthttp.HeaderTransferEncoding):
			encodings++
		}
	}
	if lengths+encodings > 1 || hosts > 1 {
		return false
	}
	return hosts == 1 || !h.IsHTTP11()
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

func isField(name []byte, field string) bool {
	return len(name) == len(field) && bytes.EqualFold(name, []byte(field))
}
