package phone

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// canned answers every call at once, so that a benchmark sees the phone's own work.
type canned map[string]string

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
	}
	body := c[r.Method]
	status := http.StatusOK
	if body == "" {
		status = http.StatusNoContent
	}
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{},
		Body:       io.NopCloser(bytes.NewReader([]byte(body))),
		Request:    r,
	}, nil
}

// BenchmarkAnswer is a phone's part of a login: pull the approval, sign the answer, send it. A load test counts it in.
func BenchmarkAnswer(b *testing.B) {
	for _, algorithm := range []Algorithm{ES256, EdDSA, RS256} {
		b.Run(string(algorithm), func(b *testing.B) {
			s := newServer(b)
			p := must(New(Options{BaseURL: s.URL, Algorithm: algorithm}))(b)
			must(p.Enroll(ctx, s.ticket()))(b)
			p.client = &http.Client{Transport: canned{
				"GET": `[{"txtkn":"x.y.z","dai":"dev_1","c":"nonce","d":"2026-11-23T15:04:05.678Z","sh":"http://localhost:8080","nm":true}]`,
			}}
			b.ReportAllocs()
			for b.Loop() {
				a := must(p.Approvals(ctx, 0, nil))(b)[0]
				if err := p.Approve(ctx, a, "042917"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
