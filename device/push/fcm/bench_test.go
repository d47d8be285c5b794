package fcm_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"

	"firebase.google.com/go/v4/messaging"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/api/option"

	"tutela/device/push/fcm"
	"tutela/device/push/pushtest"
	"tutela/storage/storagetest/check"
)

// callers is how many messages are sent at once.
const callers = 64

// BenchmarkRawFCMSend is the SDK alone, with an access token that it keeps, to a stand-in on this machine. It is what pushes through
// the outbox are compared with.
func BenchmarkRawFCMSend(b *testing.B) {
	service := pushtest.StartFCM(b)
	service.CountOnly()
	config, err := google.JWTConfigFromJSON(service.Credentials(), "https://www.googleapis.com/auth/firebase.messaging")
	check.Must(b, err)
	client := &http.Client{Transport: &oauth2.Transport{
		Source: config.TokenSource(b.Context()),
		Base:   &http.Transport{MaxIdleConns: 2 * callers, MaxIdleConnsPerHost: 2 * callers},
	}}
	defer client.CloseIdleConnections()
	raw, err := rawClient(messaging.NewClient, service.Project(), option.WithHTTPClient(client), option.WithEndpoint(service.Endpoint()))
	check.Must(b, err)
	data, err := approval().Strings()
	check.Must(b, err)
	sendAll(b, service, func() error {
		_, err := raw.Send(b.Context(), &messaging.Message{
			Token:   phone,
			Data:    data,
			Android: &messaging.AndroidConfig{Priority: "high", TTL: &approvalLife},
		})
		return err
	})
}

// approvalLife is the life of an approval.
var approvalLife = approval().Life

// rawClient makes the SDK's client, as the carrier does.
func rawClient[C ~struct {
	Opts      []option.ClientOption
	ProjectID string
	Version   string
}](construct func(context.Context, *C) (*messaging.Client, error), project string, options ...option.ClientOption) (*messaging.Client, error) {
	return construct(context.Background(), &C{Opts: options, ProjectID: project, Version: "4.19.0"})
}

// BenchmarkDeliver is the carrier.
func BenchmarkDeliver(b *testing.B) {
	service := pushtest.StartFCM(b)
	service.CountOnly()
	carrier, err := fcm.New(fcm.Credentials{JSON: service.Credentials(), Endpoint: service.Endpoint()})
	check.Must(b, err)
	defer carrier.Close()
	sendAll(b, service, func() error { return carrier.Deliver(b.Context(), to(phone), approval()) })
}

// sendAll sends b.N messages, by 64 callers at once, and reports how many there were in a second.
func sendAll(b *testing.B, service *pushtest.FCM, send func() error) {
	b.Helper()
	check.Must(b, send())
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(next *testing.PB) {
		for next.Next() {
			if err := send(); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "sends/s")
	if n := service.Requests(); n != b.N+1 {
		b.Errorf("%d requests for %d messages", n, b.N+1)
	}
}
