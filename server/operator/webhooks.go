package operator

import (
	"context"
	"errors"
	"time"

	"tutela/recovery/webhook"
	"tutela/storage/audit"
)

// The calls about webhooks.
var (
	// AddWebhook registers a webhook, and returns it with its secret. Errors: those of webhook.Service.Add.
	AddWebhook = declare("webhook/add", (*Local).addWebhook)

	// ListWebhooks returns all webhooks, the oldest first.
	ListWebhooks = declare("webhook/list", (*Local).listWebhooks)

	// ChangeWebhook changes a webhook. Errors: those of webhook.Service.Change.
	ChangeWebhook = declare("webhook/set", (*Local).changeWebhook)

	// TestWebhook sends a message to a webhook now. Errors: webhook.ErrNone.
	TestWebhook = declare("webhook/test", (*Local).testWebhook)

	// RotateWebhook gives a webhook another secret. Errors: those of webhook.Service.Rotate.
	RotateWebhook = declare("webhook/rotate", (*Local).rotateWebhook)

	// RemoveWebhook removes a webhook. Errors: webhook.ErrNone.
	RemoveWebhook = declare("webhook/remove", (*Local).removeWebhook)

	// ListDeliveries returns a webhook's last deliveries, the newest attempt first. Errors: webhook.ErrNone.
	ListDeliveries = declare("webhook/deliveries", (*Local).listDeliveries)

	// RetryDelivery sends a delivery again. Errors: those of webhook.Service.Retry.
	RetryDelivery = declare("webhook/retry", (*Local).retryDelivery)
)

// WebhookFields are what is set of a webhook; what is nil stays.
type WebhookFields struct {
	ID      string        `json:"id,omitempty"` // of the one to change
	URL     *string       `json:"url,omitempty"`
	Events  *[]audit.Type `json:"events,omitempty"`
	Mails   *bool         `json:"mails,omitempty"`
	Enabled *bool         `json:"enabled,omitempty"`
}

func (f WebhookFields) change() webhook.Change {
	return webhook.Change{
		URL:     f.URL,
		Events:  f.Events,
		Mails:   f.Mails,
		Enabled: f.Enabled,
	}
}

// WebhookSecret is a webhook's new secret, which is shown here and nowhere else.
type WebhookSecret struct {
	ID     string `json:"id"`
	Secret string `json:"secret,omitempty"`
}

func (l *Local) addWebhook(ctx context.Context, f WebhookFields) (WebhookSecret, error) {
	w, secret, err := l.Webhooks.Add(ctx, l.actor, f.change())
	return WebhookSecret{w.ID, secret}, err
}

func (l *Local) listWebhooks(ctx context.Context, _ None) ([]webhook.Webhook, error) {
	return l.Webhooks.Webhooks(ctx)
}

func (l *Local) changeWebhook(ctx context.Context, f WebhookFields) (WebhookSecret, error) {
	_, secret, err := l.Webhooks.Change(ctx, l.actor, f.ID, f.change())
	return WebhookSecret{f.ID, secret}, ofWebhook(f.ID, err)
}

func (l *Local) testWebhook(ctx context.Context, id string) (webhook.Trial, error) {
	trial, err := l.Webhooks.Test(ctx, l.actor, id)
	return trial, ofWebhook(id, err)
}

// WebhookRotation says whose secret is rotated, and for how long the secret before signs too.
type WebhookRotation struct {
	ID      string        `json:"id"`
	Overlap time.Duration `json:"overlap"`
}

func (l *Local) rotateWebhook(ctx context.Context, r WebhookRotation) (WebhookSecret, error) {
	secret, err := l.Webhooks.Rotate(ctx, l.actor, r.ID, r.Overlap)
	return WebhookSecret{r.ID, secret}, ofWebhook(r.ID, err)
}

func (l *Local) removeWebhook(ctx context.Context, id string) (None, error) {
	return None{}, ofWebhook(id, l.Webhooks.Remove(ctx, l.actor, id))
}

// DeliveryQuery says which deliveries of a webhook are wanted.
type DeliveryQuery struct {
	ID     string         `json:"id"`
	Status webhook.Status `json:"status,omitempty"`
}

func (l *Local) listDeliveries(ctx context.Context, q DeliveryQuery) ([]webhook.Delivery, error) {
	list, err := l.Webhooks.Deliveries(ctx, q.ID, q.Status)
	return list, ofWebhook(q.ID, err)
}

// DeliveryRef names a delivery.
type DeliveryRef struct {
	ID       string `json:"id"` // of the webhook
	Delivery string `json:"delivery"`
}

func (l *Local) retryDelivery(ctx context.Context, r DeliveryRef) (None, error) {
	return None{}, ofWebhook(r.ID, l.Webhooks.Retry(ctx, l.actor, r.ID, r.Delivery))
}

// ofWebhook says which webhook there is not.
func ofWebhook(id string, err error) error {
	if errors.Is(err, webhook.ErrNone) {
		return webhook.ErrNone.With("there is no webhook with the id %q: see tutela webhook list", id)
	}
	return err
}
