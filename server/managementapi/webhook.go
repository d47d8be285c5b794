package managementapi

import (
	"context"
	"net/http"
	"time"

	"tutela/recovery/webhook"
	"tutela/storage/audit"
)

// manageWebhooks are the scopes of the calls about webhooks.
var manageWebhooks = []string{webhook.ScopeManage}

// apiWebhook is a webhook as this API shows it.
type apiWebhook struct {
	ID          string       `json:"id"`
	URL         string       `json:"url"`
	Events      []audit.Type `json:"events" nullable:"false"`
	Enabled     bool         `json:"enabled"`
	Mails       bool         `json:"mails" doc:"It is given the links of send_mail, and sends them."`
	Created     instant      `json:"created_at"`
	LastSuccess *instant     `json:"last_success,omitempty" doc:"When it last took a message, to the minute."`
	Parked      *instant     `json:"parked,omitempty" doc:"Since when it is told of nothing, because it took nothing. enabled true ends that."`
	Why         audit.Word   `json:"parked_reason,omitempty" enum:"gone,unreachable,backlog"`
	Secret      string       `json:"secret,omitempty" doc:"whsec_… Shown once: when the webhook is made, its secret rotated, or its url changed."`
}

func webhookOf(w webhook.Webhook, secret string) apiWebhook {
	shown := apiWebhook{
		ID:      w.ID,
		URL:     w.URL,
		Events:  append([]audit.Type{}, w.Events...),
		Enabled: w.Enabled,
		Mails:   w.Mails,
		Created: instant{w.Created},
		Why:     w.Why,
		Secret:  secret,
	}
	if !w.LastSuccess.IsZero() {
		shown.LastSuccess = &instant{w.LastSuccess}
	}
	if !w.Parked.IsZero() {
		shown.Parked = &instant{w.Parked}
	}
	return shown
}

type webhookOutput struct{ Body apiWebhook }

type webhooksOutput struct{ Body list[apiWebhook] }

// WebhookPath names a webhook.
type WebhookPath struct {
	ID string `path:"id" maxLength:"255"`
}

// webhookFields are those that a caller sets. A field that is left out is the default of a new webhook, and stays at another.
type webhookFields struct {
	URL     *string       `json:"url,omitempty" nullable:"true" doc:"Another one gets another secret, which the answer shows."`
	Events  *[]audit.Type `json:"events,omitempty" nullable:"true" doc:"Types of events; * for all."`
	Enabled *bool         `json:"enabled,omitempty" nullable:"true"`
	Mails   *bool         `json:"mails,omitempty" nullable:"true" doc:"Set by the operator or an owner."`
}

func (f webhookFields) change() webhook.Change {
	return webhook.Change{
		URL:     f.URL,
		Events:  f.Events,
		Enabled: f.Enabled,
		Mails:   f.Mails,
	}
}

type newWebhook struct{ Body webhookFields }

type webhookChange struct {
	WebhookPath

	Body webhookFields
}

type webhookRotation struct {
	WebhookPath

	Body *struct {
		Overlap *int `json:"overlap,omitempty" minimum:"0" maximum:"604800" doc:"Seconds for which the secret before signs too; by default a day."`
	}
}

// webhookOverlap is for how long two secrets sign when a caller does not say.
const webhookOverlap = 24 * time.Hour

// webhookTrial is what came of trying a webhook.
type webhookTrial struct {
	Body struct {
		Delivered bool       `json:"delivered"`
		Status    int        `json:"status,omitempty" doc:"Of the answer."`
		Reason    audit.Word `json:"reason,omitempty" enum:"forbidden,timeout,unreachable" doc:"There was none."`
	}
}

// apiDelivery is what came of telling a webhook of an event.
type apiDelivery struct {
	ID       string         `json:"id"`
	Event    string         `json:"log_id"`
	Type     audit.Type     `json:"type"`
	State    webhook.Status `json:"status" enum:"waiting,delivered,failed" doc:"waiting: it is tried again."`
	Attempts int            `json:"attempts"`
	Answer   int            `json:"response_status,omitempty" doc:"The HTTP status of the last answer."`
	Reason   audit.Word     `json:"reason,omitempty" enum:"forbidden,timeout,unreachable" doc:"There was none."`
	At       instant        `json:"last_attempt"`
}

type deliveriesOutput struct{ Body list[apiDelivery] }

type deliveriesQuery struct {
	WebhookPath
	Paging
	Checkpoint

	Status webhook.Status `query:"status" enum:"waiting,delivered,failed"`
}

func (a *api) mountWebhooks() {
	const path = "/webhooks"
	const onePath = path + "/{id}"
	mount := func(c call) call {
		c.Scopes = manageWebhooks
		return c
	}
	register(a, mount(call{
		Word:    audit.CallListWebhooks,
		Method:  http.MethodGet,
		Path:    path,
		Summary: "List Webhooks",
	}), a.listWebhooks)
	register(a, mount(call{
		Word:        audit.CallCreateWebhook,
		Method:      http.MethodPost,
		Path:        path,
		Summary:     "Create a Webhook",
		Description: "The url is posted what the events are, signed as Standard Webhooks says. It is called on the internet alone, and a redirect is not followed.",
		Status:      http.StatusCreated,
	}), a.createWebhook)
	register(a, mount(call{
		Word:    audit.CallGetWebhook,
		Method:  http.MethodGet,
		Path:    onePath,
		Summary: "Get a Webhook",
	}), a.readWebhook)
	register(a, mount(call{
		Word:        audit.CallUpdateWebhook,
		Method:      http.MethodPatch,
		Path:        onePath,
		Summary:     "Update a Webhook",
		Description: "What is not named stays. Another url gets another secret at once. enabled true also ends that it is parked.",
	}), a.changeWebhook)
	register(a, mount(call{
		Word:        audit.CallDeleteWebhook,
		Method:      http.MethodDelete,
		Path:        onePath,
		Summary:     "Delete a Webhook",
		Description: "What waits for it is not sent.",
		Status:      http.StatusNoContent,
	}), a.deleteWebhook)
	a.mountDeliveries(onePath, mount)
}

// mountDeliveries mounts the calls about what a webhook is told.
func (a *api) mountDeliveries(onePath string, mount func(call) call) {
	register(a, mount(call{
		Word:        audit.CallTestWebhook,
		Method:      http.MethodPost,
		Path:        onePath + "/test",
		Summary:     "Try a Webhook",
		Description: "Sends a message of type webhook.test now, and says the status of its answer and nothing else of it.",
	}), a.testWebhook)
	register(a, mount(call{
		Word:    audit.CallRotateWebhook,
		Method:  http.MethodPost,
		Path:    onePath + "/rotate",
		Summary: "Rotate a Webhook's Secret",
	}), a.rotateWebhook)
	register(a, mount(call{
		Word:    audit.CallListDeliveries,
		Method:  http.MethodGet,
		Path:    onePath + "/deliveries",
		Summary: "List a Webhook's Deliveries",
		Description: "The last ones that were tried, the newest first: at most 128 that were taken and 512 that were not, of seven days. " +
			"Mail is not among them.",
	}), a.listDeliveries)
	register(a, mount(call{
		Word:        audit.CallRetryDelivery,
		Method:      http.MethodPost,
		Path:        onePath + "/deliveries/{did}/retry",
		Summary:     "Send a Delivery Again",
		Description: "With the id that it had, so that a receiver drops what it has seen.",
		Status:      http.StatusNoContent,
	}), a.retryDelivery)
}

func (a *api) listWebhooks(ctx context.Context, _ audit.Actor, in *struct {
	Paging
	Checkpoint
},
) (*webhooksOutput, error) {
	found, err := a.Webhooks.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	shown := make([]apiWebhook, 0, len(found))
	for _, w := range found {
		shown = append(shown, webhookOf(w, ""))
	}
	body, err := listed("webhooks", shown, in.Paging, in.Checkpoint, func(w apiWebhook) string { return w.ID })
	if err != nil {
		return nil, err
	}
	return &webhooksOutput{body}, nil
}

func (a *api) createWebhook(ctx context.Context, actor audit.Actor, in *newWebhook) (*webhookOutput, error) {
	w, secret, err := a.Webhooks.Add(ctx, actor, in.Body.change())
	if err != nil {
		return nil, err
	}
	return &webhookOutput{webhookOf(w, secret)}, nil
}

func (a *api) readWebhook(ctx context.Context, _ audit.Actor, in *WebhookPath) (*webhookOutput, error) {
	w, err := a.Webhooks.Webhook(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &webhookOutput{webhookOf(w, "")}, nil
}

func (a *api) changeWebhook(ctx context.Context, actor audit.Actor, in *webhookChange) (*webhookOutput, error) {
	w, secret, err := a.Webhooks.Change(ctx, actor, in.ID, in.Body.change())
	if err != nil {
		return nil, err
	}
	return &webhookOutput{webhookOf(w, secret)}, nil
}

func (a *api) deleteWebhook(ctx context.Context, actor audit.Actor, in *WebhookPath) (*nothing, error) {
	return nil, a.Webhooks.Remove(ctx, actor, in.ID)
}

func (a *api) testWebhook(ctx context.Context, actor audit.Actor, in *WebhookPath) (*webhookTrial, error) {
	trial, err := a.Webhooks.Test(ctx, actor, in.ID)
	if err != nil {
		return nil, err
	}
	out := &webhookTrial{}
	out.Body.Delivered = trial.Delivered
	out.Body.Status = trial.Answer
	out.Body.Reason = trial.Why
	return out, nil
}

func (a *api) rotateWebhook(ctx context.Context, actor audit.Actor, in *webhookRotation) (*webhookOutput, error) {
	overlap := webhookOverlap
	if in.Body != nil && in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	secret, err := a.Webhooks.Rotate(ctx, actor, in.ID, overlap)
	if err != nil {
		return nil, err
	}
	w, err := a.Webhooks.Webhook(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &webhookOutput{webhookOf(w, secret)}, nil
}

func (a *api) listDeliveries(ctx context.Context, _ audit.Actor, in *deliveriesQuery) (*deliveriesOutput, error) {
	found, err := a.Webhooks.Deliveries(ctx, in.ID, in.Status)
	if err != nil {
		return nil, err
	}
	shown := make([]apiDelivery, 0, len(found))
	for _, d := range found {
		shown = append(shown, apiDelivery{
			ID:       d.ID,
			Event:    d.Event,
			Type:     d.Type,
			State:    d.Status,
			Attempts: d.Attempts,
			Answer:   d.Answer,
			Reason:   d.Why,
			At:       instant{d.At},
		})
	}
	body, err := listed("deliveries", shown, in.Paging, in.Checkpoint, func(d apiDelivery) string { return d.ID })
	if err != nil {
		return nil, err
	}
	return &deliveriesOutput{body}, nil
}

func (a *api) retryDelivery(ctx context.Context, actor audit.Actor, in *struct {
	WebhookPath
	Delivery string `path:"did" maxLength:"255"`
},
) (*nothing, error) {
	return nil, a.Webhooks.Retry(ctx, actor, in.ID, in.Delivery)
}
