package server_test

import (
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
)

// Behind each request comes another, which a server that has read the first one wrongly would answer.
func TestFraming_WhatOthersMayReadOtherwiseIsRefusedAndEndsTheConnection(t *testing.T) {
	r := start(t, server.Config{}, func(s *server.Server) {
		s.App().Post("/mfa/echo", func(c *fiber.Ctx) error { return c.JSON(string(c.Body())) })
	})
	const (
		post   = "POST /mfa/echo HTTP/1.1\r\nHost: x\r\n"
		hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	)
	const empty = "0\r\n\r\n"
	for name, raw := range map[string]string{
		"a length and an encoding":       post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + empty,
		"an encoding and a length":       post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n" + empty,
		"in other letters":               post + "content-length: 5\r\nTRANSFER-ENCODING: chunked\r\n\r\n" + empty,
		"a space before the colon":       post + "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n" + empty,
		"a tab before the colon":         post + "Content-Length\t: 5\r\n\r\nhello",
		"a space, in another field":      post + "X-Other : x\r\nContent-Length: 5\r\n\r\nhello",
		"two encodings":                  post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + empty,
		"two lengths":                    post + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"an encoding that is none of us": post + "Transfer-Encoding: xchunked\r\n\r\n" + empty,
		"chunked twice in one field":     post + "Transfer-Encoding: chunked, chunked\r\n\r\n" + empty,
		"chunked and another":            post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + empty,
		"identity":                       post + "Transfer-Encoding: identity\r\n\r\n",
		"an encoding in the old world":   "POST /mfa/echo HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + empty,
		"no host":                        "POST /mfa/echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"two hosts":                      post + "Host: y\r\nContent-Length: 0\r\n\r\n",
	} {
		back := r.send(raw + hidden)
		got := parse(t, back)
		if got.status != 400 || strings.Count(back, "HTTP/1.1 ") != 1 || !strings.Contains(back, "Connection: close") {
			t.Errorf("%s: %q", name, back)
		}
	}
	for name, raw := range map[string]string{
		"a length":                 post + "Content-Length: 5\r\n\r\nhello",
		"an encoding":              post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"an encoding in capitals":  post + "Transfer-Encoding: \tCHUNKED \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"a list without close":     post + "Connection: keep-alive, x-close\r\nContent-Length: 5\r\n\r\nhello",
		"a list in the old world":  "POST /mfa/echo HTTP/1.0\r\nConnection: x, Keep-Alive\r\nContent-Length: 5\r\n\r\nhello",
		"a folded line":            post + "X-Other: a\r\n b : c\r\nContent-Length: 5\r\n\r\nhello",
		"a space in a value":       post + "X-Other: a : b\r\nContent-Length: 5\r\n\r\nhello",
		"an empty host":            "POST /mfa/echo HTTP/1.1\r\nHost:\r\nContent-Length: 5\r\n\r\nhello",
		"no host in the old world": "POST /mfa/echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
	} {
		back := r.send(raw + hidden)
		if !strings.Contains(back, `"hello"`) || strings.Count(back, "HTTP/1.1 200") != 2 {
			t.Errorf("%s: %q", name, back)
		}
	}
}

func TestFraming_CloseIsHeededAnywhereInConnection(t *testing.T) {
	r := start(t, server.Config{}, nil)
	for _, fields := range []string{
		"Connection: close", "Connection: keep-alive, close", "Connection: CLOSE,x", "Connection: x\r\nConnection: y , close ", "Connection:\tx,close\t",
	} {
		back := r.send("GET /healthz HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if strings.Count(back, "HTTP/1.1 200") != 1 || !strings.Contains(back, "Connection: close") {
			t.Errorf("%s: %q", fields, back)
		}
	}
}
