package main

import (
	"log/slog"

	"tutela/device/push"
)

// carry gives the gateway its carriers: the spool for every service with --dev, else none, and apps pull.
func (c *serveCmd) carry(g *push.Gateway, log *slog.Logger) {
	if !c.Dev {
		return
	}
	spool := push.NewSpool(c.pushFolder(), log)
	for _, service := range []push.Service{push.FCM, push.APNs, push.WebPush} {
		g.Use(service, spool)
	}
}
