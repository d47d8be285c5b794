package signal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// Delivery is how a receiver wants a stream delivered.
type Delivery struct {
	Method        Method
	URL           string  // of a push; of a poll it is not looked at
	Authorization *string // the header of a push; nil: none, or as it was for the same URL
}

// Change is what a receiver, or the operator, changes about a stream. A nil field stays as it is.
type Change struct {
	Client      string // of a new stream that the operator makes: its receiver
	Delivery    *Delivery
	Requested   *[]string // nil in it: all types
	Description *string

	// Whole says that nil fields, and the header of a push, go back to their defaults.
	Whole bool
}

// Add makes a stream for the acting client, or for the one that the operator names. Without a Delivery it is polled.
//
// Errors: ErrRefused; ErrReceiver; ErrInvalid, which says what is wrong; ErrTooMany.
func (s *Service) Add(ctx context.Context, actor audit.Actor, c Change) (added Stream, err error) {
	if err := may(actor, ScopeManage); err != nil {
		return Stream{}, err
	}
	if err := c.check(); err != nil {
		return Stream{}, err
	}
	if err := s.Ready(ctx); err != nil {
		return Stream{}, err
	}
	// Draw the id outside of the closure, which may run more than once.
	made := Stream{
		ID:     storage.NewID("str_", idLength),
		Client: c.receiver(actor),
		Method: Poll,
		Status: Enabled,
		Line:   storage.NewUID(),
	}
	c.apply(&made)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		added = made
		added.Created = tx.Now()
		added.From = numberAt(tx)
		present, err := all(tx)
		if err != nil {
			return err
		}
		if err := s.mayReceive(tx, actor, made.Client); err != nil {
			return err
		}
		// Room for one more?
		mine := 0
		for _, one := range present {
			if one.Client == made.Client {
				mine++
			}
		}
		if mine >= maxOfClient || len(present) >= maxStreams {
			return ErrTooMany.With("a client has at most %d streams, and there are at most %d in all: remove one first", maxOfClient, maxStreams)
		}
		return errors.Join(
			put(tx, &added),
			c.keepHeader(tx, added.ID, false),
			record(tx, actor, added.ID, audit.ChangeStream, "added"))
	})
	return added, err
}

// receiver is the client of a new stream.
func (c Change) receiver(actor audit.Actor) string {
	if actor.IsOperator() {
		return c.Client
	}
	return actor.Client()
}

// mayReceive returns an error unless the client that the operator names may have a stream. Whoever makes one himself has shown that.
//
// Errors: ErrReceiver.
func (s *Service) mayReceive(tx *storage.Tx, actor audit.Actor, client string) error {
	if !actor.IsOperator() {
		return nil
	}
	there, err := s.Receives(tx, client, ScopeRead, ScopeManage)
	if err == nil && !there {
		err = ErrReceiver.With("there is no client %q with the scope %s or %s: see tutela client list", client, ScopeManage, ScopeRead)
	}
	return err
}

// Change changes a stream of the client that acts. What waits is delivered as the stream is then.
//
// Errors: ErrRefused; ErrNone; ErrInvalid; [storage.ErrOutcomeUnknown].
func (s *Service) Change(ctx context.Context, actor audit.Actor, id string, c Change) (changed Stream, err error) {
	if err := c.check(); err != nil {
		return Stream{}, err
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeManage)
		if err != nil {
			return err
		}
		before := *one
		c.apply(one)
		changed = *one
		if one.URL != before.URL {
			one.Failing = time.Time{}
		}
		return errors.Join(
			put(tx, one),
			c.keepHeader(tx, id, one.Method == before.Method && one.URL == before.URL),
			record(tx, actor, id, audit.ChangeStream, before.differs(one)...))
	})
	if err != nil {
		return Stream{}, err
	}
	return changed, s.releaseChanged(ctx, id)
}

// Remove removes a stream of the client that acts. What waits for it is not sent.
//
// Errors: ErrRefused; ErrNone.
func (s *Service) Remove(ctx context.Context, actor audit.Actor, id string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		one, err := own(tx, actor, id, ScopeManage)
		if err != nil {
			return err
		}
		return errors.Join(remove(tx, one), record(tx, actor, id, audit.ChangeStreamRemoved))
	})
}

// remove removes a stream. What waits for it is dropped when it comes to it, or by Tidy.
func remove(tx *storage.Tx, one *Stream) error {
	tx.Wake(one.Line)
	return errors.Join(
		streams.Delete(tx, storage.House, one.ID),
		secrets.Delete(tx, storage.House, one.ID),
		follow(tx))
}

func (c Change) apply(s *Stream) {
	if c.Whole {
		s.Description = ""
		s.Requested = nil
		if c.Delivery == nil {
			s.Method = Poll
			s.URL = ""
		}
	}
	if c.Description != nil {
		s.Description = *c.Description
	}
	if c.Requested != nil {
		s.Requested = *c.Requested
	}
	if c.Delivery != nil {
		s.Method = c.Delivery.Method
		s.URL = ""
		if s.Method == Push {
			s.URL = c.Delivery.URL
		}
	}
}

// keepHeader keeps the header that a receiver wants with each push. Without a word that of before stays, but only for the URL
// that it was given for, and unless the receiver says all that there is to say.
func (c Change) keepHeader(tx *storage.Tx, id string, sameURL bool) error {
	d := c.Delivery
	switch {
	case d != nil && d.Method == Push && d.Authorization != nil && *d.Authorization != "":
		return secrets.Put(tx, storage.House, id, &secret{Authorization: []byte(*d.Authorization)})
	case sameURL && !c.Whole && (d == nil || d.Authorization == nil):
		return nil
	default:
		return secrets.Delete(tx, storage.House, id)
	}
}

// check returns ErrInvalid for what no stream can be.
func (c Change) check() error {
	if c.Description != nil {
		if err := legible.Check("description", *c.Description, maxTextBytes); err != nil {
			return ErrInvalid.With("%s", err)
		}
	}
	if c.Requested != nil {
		if len(*c.Requested) > maxRequested {
			return ErrInvalid.With("events_requested has at most %d types", maxRequested)
		}
		for _, t := range *c.Requested {
			if t == "" || len(t) > maxTypeBytes || legible.Check("type", t, maxTypeBytes) != nil {
				return ErrInvalid.With("a type of events is a URI of at most %d bytes", maxTypeBytes)
			}
		}
	}
	if c.Delivery != nil {
		return c.Delivery.check()
	}
	return nil
}

func (d Delivery) check() error {
	switch d.Method {
	case Poll:
		return nil
	case Push:
	default:
		return ErrInvalid.With("delivery.method is %s (push) or %s (poll)", Push, Poll)
	}
	if d.Authorization != nil && (len(*d.Authorization) > maxHeaderBytes || !httpguts.ValidHeaderFieldValue(*d.Authorization)) {
		return ErrInvalid.With("authorization_header is the value of a header, of at most %d bytes", maxHeaderBytes)
	}
	u, err := url.Parse(d.URL)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", strings.Contains(d.URL, "#"):
		return ErrInvalid.With("the endpoint_url of a push is https:// and a host, without a fragment")
	case len(d.URL) > maxURLBytes:
		return ErrInvalid.With("the endpoint_url has at most %d characters", maxURLBytes)
	case u.User != nil:
		return ErrInvalid.With("the endpoint_url names no user: authorization_header says who calls")
	}
	if _, err := http.NewRequest(http.MethodPost, d.URL, http.NoBody); err != nil { //nolint:noctx // it is not sent
		return ErrInvalid.With("the endpoint_url cannot be called")
	}
	return nil
}

// differs names the members that are others now.
func (s *Stream) differs(now *Stream) (members []string) {
	if s.Description != now.Description {
		members = append(members, "description")
	}
	if !slices.Equal(s.Requested, now.Requested) {
		members = append(members, "events_requested")
	}
	if s.Method != now.Method || s.URL != now.URL {
		members = append(members, "delivery")
	}
	return members
}

// record records a change of a stream. The URL is in no event: it may say more than is meant to stay.
func record(tx *storage.Tx, actor audit.Actor, id string, what audit.Word, members ...string) error {
	facts := audit.Facts{audit.FactChange: what, audit.FactStream: audit.Word(id)}
	if len(members) > 0 {
		facts[audit.FactMembers] = audit.Word(strings.Join(members, " "))
	}
	return errors.Join(
		audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate, Facts: facts}, audit.Detail{}),
		audit.RecordCall(tx, actor, storage.House))
}

// numberAt is the smallest number of what happens from this transaction on.
func numberAt(tx *storage.Tx) string { return fmt.Sprintf("%019d", tx.Stamp()) }
