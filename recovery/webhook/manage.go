package webhook

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Bounds.
const (
	maxWebhooks   = 50 // each event looks at all of them
	maxURLBytes   = 2000
	idLength      = 16
	secretBytes   = 32                 // Standard Webhooks: 24 to 64
	longestShared = 7 * 24 * time.Hour // that two secrets sign
)

// secretPrefix begins a secret. Source: Standard Webhooks, "Signature scheme".
const secretPrefix = "whsec_"

// Change is what to change of a webhook, or what a new one is. What is nil stays as it is.
type Change struct {
	URL     *string
	Events  *[]audit.Type
	Enabled *bool // true also has one that is parked told again
	Mails   *bool
}

// Add registers a webhook, and returns it with its secret, which nobody can read again. It is enabled, unless the change says
// otherwise.
//
// Errors: ErrInvalid, which says what is wrong; ErrRefused; ErrTooMany.
func (s *Service) Add(ctx context.Context, actor audit.Actor, c Change) (added Webhook, secret string, err error) {
	made := Webhook{ID: storage.NewID("whk_", idLength), Enabled: true}
	c.apply(&made)
	if err := made.check(); err != nil {
		return Webhook{}, "", err
	}
	secret = newSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		added = made
		added.Created = tx.Now().Truncate(time.Millisecond)
		if err := may(tx, actor, added.Mails); err != nil {
			return err
		}
		present, err := all(tx)
		if err != nil {
			return err
		}
		if len(present) >= maxWebhooks {
			return ErrTooMany.With("there are %d webhooks, and no more are told: remove one first", maxWebhooks)
		}
		return errors.Join(
			put(tx, &added),
			secrets.Put(tx, storage.House, added.ID, &credentials{Secret: []byte(secret)}),
			record(tx, actor, added.ID, audit.ChangeWebhook, "added"))
	})
	if err != nil {
		return Webhook{}, "", err
	}
	return added, secret, nil
}

// Change changes a webhook. Another URL gets another secret at once, which is returned, and which nobody can read again: who
// changes where events go learns nothing that was signed for the receiver before. Else secret is "".
//
// Errors: ErrNone; ErrInvalid; ErrRefused.
func (s *Service) Change(ctx context.Context, actor audit.Actor, id string, c Change) (changed Webhook, secret string, err error) {
	fresh := newSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		secret = ""
		w, err := get(tx, id)
		if err != nil {
			return err
		}
		before := *w
		c.apply(w)
		changed = *w
		if err := errors.Join(w.check(), may(tx, actor, before.Mails || w.Mails)); err != nil {
			return err
		}
		members := before.differs(w)
		if len(members) == 0 {
			return nil
		}
		if w.URL != before.URL {
			secret = fresh
			w.Failing = time.Time{}
			changed = *w
			err = secrets.Put(tx, storage.House, id, &credentials{Secret: []byte(secret)})
		}
		return errors.Join(err, put(tx, w), record(tx, actor, id, audit.ChangeWebhook, members...))
	})
	if err != nil {
		return Webhook{}, "", err
	}
	return changed, secret, nil
}

// Remove removes a webhook. What waits for it is not sent.
//
// Errors: ErrNone; ErrRefused.
func (s *Service) Remove(ctx context.Context, actor audit.Actor, id string) error {
	return s.store.Update(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, id)
		if err == nil {
			err = may(tx, actor, w.Mails)
		}
		if err != nil {
			return err
		}
		return errors.Join(
			hooks.Delete(tx, storage.House, id),
			secrets.Delete(tx, storage.House, id),
			deliveries.DeletePrefixed(tx, storage.House, id+"/"),
			follow(tx),
			record(tx, actor, id, audit.ChangeWebhookRemoved))
	})
}

// Rotate gives a webhook another secret, and returns it. For overlap, of at most seven days, the one before signs too.
//
// Errors: ErrNone; ErrInvalid, for the overlap; ErrRefused.
func (s *Service) Rotate(ctx context.Context, actor audit.Actor, id string, overlap time.Duration) (secret string, err error) {
	if overlap < 0 || overlap > longestShared {
		return "", ErrInvalid.With("the secret before signs for 0 to %d seconds more", int(longestShared/time.Second))
	}
	secret = newSecret()
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		w, err := get(tx, id)
		if err == nil {
			err = may(tx, actor, w.Mails)
		}
		if err != nil {
			return err
		}
		fresh := &credentials{Secret: []byte(secret)}
		before, err := secrets.Get(tx, storage.House, id)
		switch {
		case err != nil && !isGone(err):
			return err
		case err == nil && overlap > 0:
			fresh.Former = before.Secret
			fresh.FormerUntil = tx.Now().Add(overlap)
		}
		return errors.Join(
			secrets.Put(tx, storage.House, id, fresh),
			record(tx, actor, id, audit.ChangeWebhookSecret))
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// may is the rule on who manages webhooks: the operator; a client with the scope; an admin or owner who is signed in. One that
// sends mail gets links by which somebody enrols, so only the operator and an owner may make one, or change it in any way.
//
// Errors: ErrRefused.
func may(tx *storage.Tx, actor audit.Actor, mails bool) error {
	switch {
	case actor.IsOperator():
		return nil
	case mails && !actor.IsAdmin():
		return ErrRefused.With("a webhook that mails is made, changed and removed by the operator or an owner alone: tutela webhook")
	case actor.IsClient() && actor.Has(ScopeManage):
		return nil
	case !actor.IsAdmin():
		return ErrRefused
	}
	who, err := user.Get(tx, actor.ActsAs())
	if errors.Is(err, user.ErrUnknown) {
		return ErrRefused
	}
	if err != nil {
		return err
	}
	least := user.Admin
	if mails {
		least = user.Owner
	}
	if who.Blocked || least.Above(who.Role) {
		return ErrRefused
	}
	return nil
}

func (c Change) apply(w *Webhook) {
	if c.URL != nil {
		w.URL = *c.URL
	}
	if c.Events != nil {
		w.Events = distinct(*c.Events)
	}
	if c.Mails != nil {
		w.Mails = *c.Mails
	}
	if c.Enabled != nil {
		w.Enabled = *c.Enabled
		if w.Enabled {
			w.Parked = time.Time{}
			w.Failing = time.Time{}
			w.Why = ""
		}
	}
}

// check returns ErrInvalid for a webhook that could not be told of anything.
func (w *Webhook) check() error {
	u, err := url.Parse(w.URL)
	switch {
	case err != nil, u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "", strings.Contains(w.URL, "#"):
		return ErrInvalid.With("the url of a webhook is https:// and a host, without a fragment")
	case len(w.URL) > maxURLBytes:
		return ErrInvalid.With("the url of a webhook has at most %d characters", maxURLBytes)
	case u.User != nil:
		return ErrInvalid.With("the url of a webhook names no user: the signature says who calls")
	case len(w.Events) == 0 && !w.Mails:
		return ErrInvalid.With("name the events that the webhook is told of, or * for all")
	}
	for _, t := range w.Events {
		if t != audit.EveryType && (!audit.IsType(t) || t == audit.Damaged) {
			return ErrInvalid.With("there are no events of type %q", string(t))
		}
	}
	return nil
}

// differs names the members that are others now.
func (w *Webhook) differs(now *Webhook) (members []string) {
	for name, differs := range map[string]bool{
		"url":     w.URL != now.URL,
		"events":  !slices.Equal(w.Events, now.Events),
		"mails":   w.Mails != now.Mails,
		"enabled": w.Enabled != now.Enabled || !w.Parked.Equal(now.Parked),
	} {
		if differs {
			members = append(members, name)
		}
	}
	slices.Sort(members)
	return members
}

// record records a change of a webhook. The URL is in no event: it may say more than is meant to stay.
func record(tx *storage.Tx, actor audit.Actor, id string, what audit.Word, members ...string) error {
	facts := audit.Facts{audit.FactChange: what, audit.FactWebhook: audit.Word(id)}
	if len(members) > 0 {
		facts[audit.FactMembers] = audit.Word(strings.Join(members, " "))
	}
	return errors.Join(
		audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate, Facts: facts}, audit.Detail{}),
		audit.RecordCall(tx, actor, storage.House))
}

func newSecret() string {
	var b [secretBytes]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

func distinct(types []audit.Type) []audit.Type {
	once := []audit.Type{}
	for _, t := range types {
		if !slices.Contains(once, t) {
			once = append(once, t)
		}
	}
	return once
}

func byAge(list []Webhook) {
	slices.SortStableFunc(list, func(a, b Webhook) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
}

// isGone reports whether a row is not there, or cannot be read.
func isGone(err error) bool {
	return errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrDamaged)
}
