package operator

import (
	"context"
	"errors"

	"tutela/recovery/signal"
)

// The calls about streams of shared signals, whichever client's they are.
var (
	// AddStream makes a stream for a client. Errors: those of signal.Service.Add.
	AddStream = declare("stream/add", (*Local).addStream)

	// ListStreams returns all streams, the oldest first.
	ListStreams = declare("stream/list", (*Local).listStreams)

	// ShowStream returns the stream with an id. Errors: signal.ErrNone.
	ShowStream = declare("stream/show", (*Local).showStream)

	// ChangeStream changes a stream, and its status when one is named. Errors: those of signal.Service.Change and SetStatus.
	ChangeStream = declare("stream/change", (*Local).changeStream)

	// RemoveStream removes the stream with an id. Errors: signal.ErrNone.
	RemoveStream = declare("stream/remove", (*Local).removeStream)

	// VerifyStream has the stream with an id told that it works. Errors: those of signal.Service.Verify.
	VerifyStream = declare("stream/verify", (*Local).verifyStream)
)

// StreamFields are what is set of a stream; what is left out stays.
type StreamFields struct {
	ID            string        `json:"id,omitempty"`     // of the one to change
	Client        string        `json:"client,omitempty"` // of a new one: its receiver
	Method        signal.Method `json:"method,omitempty"`
	URL           string        `json:"url,omitempty"`           // of a push
	Authorization *string       `json:"authorization,omitempty"` // of a push: the header that it shows
	Requested     *[]string     `json:"requested,omitempty"`
	Description   *string       `json:"description,omitempty"`
	Status        signal.Status `json:"status,omitempty"`
	Reason        string        `json:"reason,omitempty"` // of the status
}

func (f StreamFields) change() signal.Change {
	c := signal.Change{
		Client:      f.Client,
		Requested:   f.Requested,
		Description: f.Description,
	}
	if f.Method != "" {
		c.Delivery = &signal.Delivery{Method: f.Method, URL: f.URL, Authorization: f.Authorization}
	}
	return c
}

func (l *Local) addStream(ctx context.Context, f StreamFields) (signal.Stream, error) {
	return l.Signals.Add(ctx, l.actor, f.change())
}

func (l *Local) listStreams(ctx context.Context, _ None) ([]signal.Stream, error) {
	return l.Signals.Streams(ctx, l.actor)
}

func (l *Local) showStream(ctx context.Context, id string) (signal.Stream, error) {
	found, err := l.Signals.Stream(ctx, l.actor, id)
	return found, ofStream(id, err)
}

func (l *Local) changeStream(ctx context.Context, f StreamFields) (signal.Stream, error) {
	changed, err := l.Signals.Change(ctx, l.actor, f.ID, f.change())
	if err == nil && f.Status != "" {
		changed, err = l.Signals.SetStatus(ctx, l.actor, f.ID, f.Status, f.Reason)
	}
	return changed, ofStream(f.ID, err)
}

func (l *Local) removeStream(ctx context.Context, id string) (None, error) {
	return None{}, ofStream(id, l.Signals.Remove(ctx, l.actor, id))
}

func (l *Local) verifyStream(ctx context.Context, id string) (None, error) {
	return None{}, ofStream(id, l.Signals.Verify(ctx, l.actor, id, ""))
}

// ofStream says which stream there is not.
func ofStream(id string, err error) error {
	if errors.Is(err, signal.ErrNone) {
		return signal.ErrNone.With("there is no stream with the id %q: see tutela stream list", id)
	}
	return err
}
