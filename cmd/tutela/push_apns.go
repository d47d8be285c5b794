package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"tutela/device/push"
	"tutela/device/push/apns"
)

// passwordVariable may hold the password of the certificate for APNs.
const passwordVariable = "TUTELA_APNS_CERT_PASSWORD"

// apnsFlags are the credentials for the Apple Push Notification service: a key or a certificate.
type apnsFlags struct {
	APNsKey          file   `name:"apns-key" env:"TUTELA_APNS_KEY" placeholder:"FILE" help:"Authentication key (.p8) of an Apple developer team: messages to iPhones go by APNs."`
	APNsKeyID        string `name:"apns-key-id" env:"TUTELA_APNS_KEY_ID" placeholder:"ID" help:"Id of the key."`
	APNsTeamID       string `name:"apns-team-id" env:"TUTELA_APNS_TEAM_ID" placeholder:"ID" help:"Id of the team."`
	APNsTopic        string `name:"apns-topic" env:"TUTELA_APNS_TOPIC" placeholder:"BUNDLE" help:"Bundle id of the app. A certificate names it too."`
	APNsCert         file   `name:"apns-cert" env:"TUTELA_APNS_CERT" placeholder:"FILE" help:"In place of a key: certificate with its private key (PKCS#12)."`
	APNsCertPassword file   `name:"apns-cert-password-file" env:"TUTELA_APNS_CERT_PASSWORD_FILE" placeholder:"FILE" help:"File that holds the certificate's password, on one line; or give it as TUTELA_APNS_CERT_PASSWORD."`
	APNsSandbox      bool   `name:"apns-sandbox" env:"TUTELA_APNS_SANDBOX" help:"Use Apple's sandbox, for apps that Xcode has installed."`
	APNsEndpoint     string `name:"apns-endpoint" env:"TUTELA_APNS_ENDPOINT" placeholder:"URL" help:"In place of https://api.push.apple.com."`
}

// addTo adds the carrier for APNs, if there are credentials.
func (f apnsFlags) addTo(c carriers) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.APNsKey == "" && f.APNsCert == "" {
		return endpoint("--apns-endpoint", f.APNsEndpoint)
	}
	credentials, err := f.read()
	if err != nil {
		return err
	}
	carrier, err := apns.New(credentials)
	switch {
	case errors.Is(err, apns.ErrEndpoint):
		return notUnderstood("--apns-endpoint %s: %w", f.APNsEndpoint, err)
	case err != nil && f.APNsKey != "":
		return notUnderstood("--apns-key %s: %w", f.APNsKey, err)
	case err != nil:
		return notUnderstood("--apns-cert %s: %w", f.APNsCert, err)
	}
	c.of[push.APNs] = carrier
	c.setUp[push.APNs] = f.setUp(carrier)
	return nil
}

// check refuses flags that do not go together.
func (f apnsFlags) check() error {
	byKey := f.APNsKey != "" || f.APNsKeyID != "" || f.APNsTeamID != ""
	byCertificate := f.APNsCert != "" || f.APNsCertPassword != ""
	switch {
	case byKey && byCertificate:
		return notUnderstood("APNs takes a key or a certificate: give --apns-key, --apns-key-id and --apns-team-id, or --apns-cert")
	case byKey && (f.APNsKey == "" || f.APNsKeyID == "" || f.APNsTeamID == "" || f.APNsTopic == ""):
		return notUnderstood("APNs by key needs --apns-key FILE, --apns-key-id, --apns-team-id and --apns-topic")
	case f.APNsCertPassword != "" && f.APNsCert == "":
		return notUnderstood("--apns-cert-password-file is for a certificate: give --apns-cert FILE too")
	case !byKey && !byCertificate && (f.APNsTopic != "" || f.APNsSandbox):
		return notUnderstood("APNs needs credentials: give --apns-key FILE with its ids, or --apns-cert FILE")
	case f.APNsSandbox && f.APNsEndpoint != "":
		return notUnderstood("--apns-sandbox and --apns-endpoint both say where APNs is: give one of them")
	}
	return nil
}

// read reads the files.
func (f apnsFlags) read() (apns.Credentials, error) {
	c := apns.Credentials{
		KeyID:    f.APNsKeyID,
		TeamID:   f.APNsTeamID,
		Password: os.Getenv(passwordVariable),
		Topic:    f.APNsTopic,
		Sandbox:  f.APNsSandbox,
		Endpoint: f.APNsEndpoint,
	}
	for _, one := range []struct {
		flag string
		name file
		into func(content []byte)
	}{
		{"--apns-key", f.APNsKey, func(content []byte) { c.Key = content }},
		{"--apns-cert", f.APNsCert, func(content []byte) { c.Certificate = content }},
		{"--apns-cert-password-file", f.APNsCertPassword, func(content []byte) { c.Password = strings.TrimRight(string(content), "\r\n") }},
	} {
		if one.name == "" {
			continue
		}
		content, err := os.ReadFile(string(one.name))
		if err != nil {
			return c, notUnderstood("%s: %w", one.flag, err)
		}
		if len(content) == 0 {
			return c, notUnderstood("%s: %s is empty", one.flag, one.name)
		}
		one.into(content)
	}
	return c, nil
}

// setUp says how the carrier is set up.
func (f apnsFlags) setUp(carrier *apns.Carrier) string {
	where := "production"
	switch {
	case f.APNsEndpoint != "":
		where = carrier.Host()
	case f.APNsSandbox:
		where = "sandbox"
	}
	how := fmt.Sprintf("topic %s, %s", carrier.Topic(), where)
	if end := carrier.Expires(); !end.IsZero() {
		word := "until"
		if end.Before(time.Now()) {
			word = "EXPIRED on"
		}
		how += fmt.Sprintf(", certificate %s %s", word, end.UTC().Format(time.DateOnly))
	}
	return how
}
