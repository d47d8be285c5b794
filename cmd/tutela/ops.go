package main

import (
	"context"
	"log/slog"
	"net"

	"tutela/server"
	"tutela/server/metrics"
	"tutela/storage/meter"
)

// opsListen opens the operators' listener; nil when none is wanted.
//
// Errors: why it cannot be opened, with the way out.
func (c *serveCmd) opsListen(ctx context.Context) (net.Listener, error) {
	if c.OpsListen == "" {
		return nil, nil
	}
	return listen(ctx, opsFlag, c.OpsListen)
}

// serveOps answers the operators' calls until ctx ends.
func serveOps(ctx context.Context, l net.Listener, set *meter.Set, s *server.Server, log *slog.Logger) {
	err := metrics.Serve(ctx, l, metrics.Options{
		Set:     set,
		Version: version,
		Live:    s.Liveness,
		Ready:   s.Readiness,
		Log:     log,
	})
	if err != nil {
		log.Error("metrics are not served any more", "err", err)
	}
}
