package main

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"tutela/device/push"
	"tutela/device/push/fcm"
	"tutela/device/push/wire"
)

// pushFlags are the credentials for the push services. A service without any gets no messages: its apps pull.
type pushFlags struct {
	fcmFlags
	apnsFlags
}

// carriers are the push services that messages go by, each with a word on how it is set up.
type carriers struct {
	of    map[push.Service]push.Carrier
	setUp map[push.Service]string
}

// readCarriers makes the carriers of the services that have credentials.
//
// Errors: usageError, when a file cannot be read or a flag is not valid.
func (f pushFlags) readCarriers() (carriers, error) {
	c := carriers{of: map[push.Service]push.Carrier{}, setUp: map[push.Service]string{}}
	if err := f.fcmFlags.addTo(c); err != nil {
		return c, err
	}
	return c, f.apnsFlags.addTo(c)
}

// carry gives the gateway its carriers: those with credentials, with --dev the spool for all others, and says in one line which count:
// these, or those of what is set by API.
func (c *serveCmd) carry(h *house, log *slog.Logger) error {
	h.direct.Reach(c.FCMEndpoint, c.APNsEndpoint)
	direct, err := h.direct.Describe(context.Background())
	if err != nil {
		return err
	}
	spool := push.NewSpool(c.pushFolder(), log)
	said := make([]any, 0, 6)
	for _, service := range []push.Service{push.FCM, push.APNs, push.WebPush} {
		how := "not carried: apps pull"
		if carrier, ok := c.carriers.of[service]; ok {
			how = c.carriers.setUp[service]
			h.push.Use(service, carrier)
		} else if c.Dev {
			how = "files in " + c.pushFolder()
			h.push.Use(service, spool)
		}
		if set, rules := direct[service]; rules {
			how = set
		}
		said = append(said, string(service), how)
	}
	log.Info("push services", said...)
	return nil
}

// endpoint refuses a URL in the place of a push service that cannot be one. Without credentials on the command line it counts for
// those that are set by API.
func endpoint(flag, url string) error {
	if url == "" {
		return nil
	}
	if _, err := wire.ParseEndpoint(url); err != nil {
		return notUnderstood("%s %s: %w", flag, url, err)
	}
	return nil
}

// fcmFlags are the credentials for Firebase Cloud Messaging.
type fcmFlags struct {
	FCMCredentials file   `name:"fcm-credentials" env:"TUTELA_FCM_CREDENTIALS" placeholder:"FILE" help:"Key file (JSON) of a Firebase service account: messages to Android phones go by FCM."`
	FCMEndpoint    string `name:"fcm-endpoint" env:"TUTELA_FCM_ENDPOINT" placeholder:"URL" help:"In place of https://fcm.googleapis.com/v1."`
}

// addTo adds the carrier for FCM, if there are credentials.
func (f fcmFlags) addTo(c carriers) error {
	if f.FCMCredentials == "" {
		return endpoint("--fcm-endpoint", f.FCMEndpoint)
	}
	content, err := os.ReadFile(string(f.FCMCredentials))
	if err != nil {
		return notUnderstood("--fcm-credentials: %w", err)
	}
	carrier, err := fcm.New(fcm.Credentials{JSON: content, Endpoint: f.FCMEndpoint})
	if errors.Is(err, fcm.ErrEndpoint) {
		return notUnderstood("--fcm-endpoint %s: %w", f.FCMEndpoint, err)
	}
	if err != nil {
		return notUnderstood("--fcm-credentials %s: %w", f.FCMCredentials, err)
	}
	c.of[push.FCM] = carrier
	c.setUp[push.FCM] = "project " + carrier.Project()
	return nil
}
