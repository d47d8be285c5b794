package server

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

// framing checks a request's header. plain reports whether its framing is unambiguous: a proxy that saw the body end elsewhere
// would take a part of the body for another request (request smuggling), and the engine lets such requests pass. last reports
// whether the caller wants the connection closed after the answer; the engine sees that only when close is the whole field.
//
// Source: RFC 9112 §3.2 (one Host), §5.1 (no space before the colon), §6.1 (not a length and an encoding, no encoding in
// HTTP/1.0), §9.6 (close); RFC 9110 §7.6.1 (Connection is a list).
func framing(h *fasthttp.RequestHeader) (plain, last bool) {
	hosts := 0
	lengths := 0
	encodings := 0
	for raw := h.RawHeaders(); len(raw) > 0; {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || isBlank(name[0]) { // the end, or a folded line
			continue
		}
		switch {
		case isBlank(name[len(name)-1]):
			return false, last
		case isField(name, "Host"):
			hosts++
		case isField(name, fasthttp.HeaderContentLength):
			lengths++
		case isField(name, fasthttp.HeaderTransferEncoding):
			if !h.IsHTTP11() || !isField(bytes.TrimSpace(value), "chunked") {
				return false, last
			}
			encodings++
		case isField(name, fasthttp.HeaderConnection):
			last = last || hasElement(value, "close")
		}
	}
	if lengths+encodings > 1 || hosts > 1 {
		return false, last
	}
	return hosts == 1 || !h.IsHTTP11(), last
}

// hasElement reports whether a list has an element, in whatever case.
func hasElement(list []byte, element string) bool {
	for len(list) > 0 {
		var one []byte
		one, list, _ = bytes.Cut(list, []byte(","))
		if isField(bytes.TrimSpace(one), element) {
			return true
		}
	}
	return false
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }

func isField(name []byte, field string) bool {
	return len(name) == len(field) && bytes.EqualFold(name, []byte(field))
}
