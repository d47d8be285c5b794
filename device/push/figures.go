package push

import (
	"errors"
	"strings"
	"time"

	"tutela/storage/meter"
)

// The words for the push services in figures. A host of Web Push, which may be a person's own, has none.
const (
	providerFCM     = "fcm"
	providerAPNs    = "apns"
	providerWebPush = "webpush"
)

// Providers are the words that ProviderOf returns.
var Providers = []string{providerFCM, providerAPNs, providerWebPush}

// ProviderOf returns the word for the push service of an address, by [Address.Through].
func ProviderOf(through string) string {
	service, _, _ := strings.Cut(through, "/")
	switch Service(service) {
	case GCM, FCM:
		return providerFCM
	case APNs:
		return providerAPNs
	case WebPush:
		return providerWebPush
	default:
		return meter.Other
	}
}

// Great reports whether [Address.Through] names a service of which there is one: FCM or APNs. A host of Web Push is what the
// app says it is, and may be anybody's.
func Great(through string) bool {
	service := Service(through).Provider()
	return service == FCM || service == APNs
}

// What a delivery came to, in figures; beside these the verdicts of a [Refusal].
const (
	OutcomeSent        = "sent"
	OutcomeUnreachable = "unreachable" // no answer, none in time, or one that nobody understands
)

var (
	// Sent counts the messages that push services were given, by outcome.
	Sent = meter.NewCounter("tutela_pushes_total",
		"Messages that a push service was given, by provider and what it answered.",
		meter.Words("provider", Providers...),
		meter.Words("outcome", OutcomeSent, string(Gone), string(Setup), string(Mismatch), string(Unfit), string(Busy), OutcomeUnreachable))
	sendTime = meter.NewHistogram("tutela_push_duration_seconds",
		"How long a push service took to answer, or to be given up, by provider.",
		meter.Seconds, meter.Words("provider", Providers...))
)

// CountIn has deliveries counted in a set. Before the gateway is used only.
func (g *Gateway) CountIn(set *meter.Set) { g.meter = set }

// count counts a delivery.
func (g *Gateway) count(to Address, began time.Time, err error) {
	provider := ProviderOf(string(to.Service))
	Sent.Add(g.meter, 1, provider, outcomeOf(err))
	sendTime.Observe(g.meter, time.Since(began).Seconds(), provider)
}

func outcomeOf(err error) string {
	var refusal *Refusal
	switch {
	case err == nil:
		return OutcomeSent
	case errors.As(err, &refusal):
		return string(refusal.Verdict)
	default:
		return OutcomeUnreachable
	}
}
