package server_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"tutela/server"
)

// BenchmarkCall measures what the foundation costs a call: over kept connections on loopback, with a typed operation.
func BenchmarkCall(b *testing.B) {
	s, err := server.New(server.Config{
		Listen: "127.0.0.1:0",
		Log:    slog.New(slog.NewJSONHandler(io.Discard, nil)),
	})
	if err != nil {
		b.Fatal(err)
	}
	huma.Post(s.API(), "/api/things/{id}", func(_ context.Context, in *thingInput) (*thingOutput, error) {
		out := new(thingOutput)
		out.Body.ID = in.ID
		out.Body.Name = in.Body.Name
		return out, nil
	})
	addr, err := s.Listen(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx) }()
	b.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})

	const request = "POST /api/things/1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"name\":\"n\"}"
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr.String())
		if err != nil {
			b.Error(err)
			return
		}
		defer func() { _ = c.Close() }()
		reader := bufio.NewReader(c)
		for pb.Next() {
			if _, err := io.WriteString(c, request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(reader, nil)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusOK {
				b.Errorf("status %d", resp.StatusCode)
			}
		}
	})
}
