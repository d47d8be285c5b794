package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"tutela/device"
	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// MaxOverlap is how long the secret before may count beside a new one.
const MaxOverlap = 7 * 24 * time.Hour

// ErrOverlap reports an overlap that is out of bounds.
var ErrOverlap = storage.NewError(storage.Invalid, "overlap is from 0 to 604800 seconds")

// maxFormers is how many secrets before may count beside the client's.
const maxFormers = 3

// ErrSecrets reports that as many secrets of a client count as may.
var ErrSecrets = storage.NewError(storage.Conflict,
	"three secrets before still count beside the client's: wait until one ends, or end them all by a rotation without an overlap")

// ClientChange changes a client. A nil field keeps what the client has.
type ClientChange struct {
	Name         *string
	Scopes       *[]string
	Grants       *[]string
	RedirectURIs *[]string
	WebOrigins   *[]string
	IDTokenAlg   *string
	Presence     *device.Presence
	DeliveryMode *string
	NotifyAt     *string
	RequestAlg   *string          // "": it signs no requests
	ActsAs       *storage.UID     // zero: it acts for nobody
	Keys         *json.RawMessage // a JWK Set or one JWK: its secret ends, if it has one
}

func (change ClientChange) apply(c *Client) {
	for _, list := range []struct{ from, to *[]string }{
		{change.Scopes, &c.Scopes}, {change.Grants, &c.Grants}, {change.RedirectURIs, &c.RedirectURIs}, {change.WebOrigins, &c.WebOrigins},
	} {
		if list.from != nil {
			*list.to = slices.Clone(*list.from)
		}
	}
	if change.Name != nil {
		c.Name = *change.Name
	}
	if change.IDTokenAlg != nil {
		c.IDTokenAlg = *change.IDTokenAlg
	}
	if change.Presence != nil {
		c.Presence = *change.Presence
	}
	if change.DeliveryMode != nil {
		c.DeliveryMode = *change.DeliveryMode
	}
	switch {
	case change.NotifyAt != nil:
		c.NotifyAt = *change.NotifyAt
	case change.DeliveryMode != nil && *change.DeliveryMode != DeliveryPing:
		c.NotifyAt = "" // who polls is not called
	}
	if change.RequestAlg != nil {
		c.RequestAlg = *change.RequestAlg
	}
	if change.ActsAs != nil {
		c.ActsAs = *change.ActsAs
	}
	if change.Keys != nil {
		c.Keys = *change.Keys
	}
}

// Client returns the new client that has what the change sets, and the defaults for all else.
func (change ClientChange) Client() (c Client) {
	change.apply(&c)
	return c
}

// ChangeClient changes a client and returns it. What it can do no more, its tokens cannot either, from the next call on; and the tokens
// that were issued before end when one of its keys is taken away, or its secret.
//
// Errors: ErrNoClient; ErrNewClient, which says what is wrong; ErrBeyondCaller, when the caller could not give what the client has
// before or after; ErrToken, when the caller's token was ended meanwhile; user.ErrUnknown for ActsAs.
func (s *Service) ChangeClient(ctx context.Context, actor audit.Actor, id string, change ClientChange) (changed Client, err error) {
	if change.IDTokenAlg != nil && *change.IDTokenAlg == string(rs256) {
		// A change that is refused makes no key.
		err := s.store.View(ctx, func(tx *storage.Tx) error {
			_, _, err := change.of(tx, actor, id)
			return err
		})
		if err != nil {
			return Client{}, err
		}
		if err := s.ensureKeys(ctx, actor, rs256); err != nil {
			return Client{}, err
		}
	}
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		c, members, err := change.of(tx, actor, id)
		if err != nil {
			return err
		}
		changed = c.Client
		return putClient(tx, actor, c, audit.ChangeClient, members...)
	})
	return changed, err
}

// of returns a client as the change makes it, and the names of the members that become others. It writes nothing.
//
// Errors: those of ChangeClient.
func (change ClientChange) of(tx *storage.Tx, actor audit.Actor, id string) (c *registered, members []string, err error) {
	if c, err = ruledBy(tx, actor, id); err != nil {
		return nil, nil, err
	}
	before := c.Client
	change.apply(&c.Client)
	if change.Grants != nil && len(c.Grants) == 0 {
		return nil, nil, ErrNewClient.With("a client keeps at least one grant")
	}
	if change.Keys != nil && len(c.Keys) == 0 {
		return nil, nil, ErrNewClient.With("a client keeps at least one key")
	}
	if err := c.complete(); err != nil {
		return nil, nil, err
	}
	if change.Keys != nil {
		c.seenBy(actor)
	}
	if lacksKeyOf(c.Keys, before.Keys) || len(c.Keys) > 0 && c.SecretHash != "" {
		c.SecretHash = ""
		c.Formers = nil
		c.TokenVersion++
	}
	if err := mayGive(tx, actor, c.Client); err != nil {
		return nil, nil, err
	}
	if change.ActsAs != nil && !c.ActsAs.IsZero() {
		if _, err := user.Get(tx, c.ActsAs); err != nil {
			return nil, nil, err
		}
	}
	return c, before.differsIn(c.Client), nil
}

// differsIn returns the names of the members in which two clients differ.
func (c Client) differsIn(other Client) (members []string) {
	for _, member := range []struct {
		name string
		same bool
	}{
		{"name", c.Name == other.Name},
		{"scopes", slices.Equal(c.Scopes, other.Scopes)},
		{"grants", slices.Equal(c.Grants, other.Grants)},
		{"redirect_uris", slices.Equal(c.RedirectURIs, other.RedirectURIs)},
		{"web_origins", slices.Equal(c.WebOrigins, other.WebOrigins)},
		{"id_token_alg", c.IDTokenAlg == other.IDTokenAlg},
		{"delivery_mode", c.DeliveryMode == other.DeliveryMode},
		{"notification_endpoint", c.NotifyAt == other.NotifyAt},
		{"request_alg", c.RequestAlg == other.RequestAlg},
		{"presence", c.Presence == other.Presence},
		{"acts_as", c.ActsAs == other.ActsAs},
		{"jwks", bytes.Equal(c.Keys, other.Keys)},
	} {
		if !member.same {
			members = append(members, member.name)
		}
	}
	return members
}

// RotateSecret gives a client another secret and returns it: nobody can read it again. The secret before counts for overlap longer, and
// those before that one as long as they were to: the answer may be lost, and the call made again, while the first is what is deployed.
// Without an overlap they all end at once, and so does every management token that was issued before.
//
// Errors: ErrNoClient; ErrOverlap; ErrSecrets; ErrBeyondCaller; ErrToken, when the caller's token was ended meanwhile.
func (s *Service) RotateSecret(ctx context.Context, actor audit.Actor, id string, overlap time.Duration) (secret string, err error) {
	if overlap < 0 || overlap > MaxOverlap {
		return "", ErrOverlap
	}
	secret = storage.NewID("", clientSecretLength)
	err = s.store.Update(ctx, func(tx *storage.Tx) error {
		c, err := ruledBy(tx, actor, id)
		if err != nil {
			return err
		}
		if c.SecretHash == "" {
			return ErrNewClient.With("the client authenticates by its keys, and has no secret")
		}
		if err := c.keepSecret(tx.Now(), overlap); err != nil {
			return err
		}
		if overlap == 0 {
			c.Behind = nil // what they saw has ended
		}
		c.seenBy(actor)
		c.SecretHash = s.ring.Hash(secretPurpose, []byte(c.ID), []byte(secret))
		return putClient(tx, actor, c, audit.ChangeClientSecret)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// keepSecret has the client's secret count for overlap longer; without an overlap all that was ends.
//
// Errors: ErrSecrets.
func (c *registered) keepSecret(now time.Time, overlap time.Duration) error {
	if overlap == 0 {
		c.Formers = nil
		c.TokenVersion++
		return nil
	}
	c.Formers = slices.DeleteFunc(c.Formers, func(f former) bool { return !now.Before(f.Until) })
	if len(c.Formers) == maxFormers {
		return ErrSecrets
	}
	c.Formers = append(c.Formers, former{c.SecretHash, now.Add(overlap)})
	return nil
}

// ruledBy reads a client that the actor may change: he could give all that it has.
//
// Errors: ErrNoClient; those of mayGive.
func ruledBy(tx *storage.Tx, actor audit.Actor, id string) (*registered, error) {
	c, err := client(tx, id)
	if err != nil {
		return nil, err
	}
	return c, mayGive(tx, actor, c.Client)
}

// mayGive is mayAdd, and holds a client against what it is in tx: its call may have been let in long ago. It looks at the grants
// too: a client gives none that it lacks.
//
// Errors: ErrBeyondCaller; ErrToken, when the token of the call was ended meanwhile.
func mayGive(tx *storage.Tx, actor audit.Actor, c Client) error {
	if actor.IsAdmin() {
		return sessionMayGive(tx, actor, c)
	}
	if err := mayAdd(actor, c); err != nil {
		return err
	}
	own, isClient := strings.CutPrefix(actor.By(), "client:")
	if !isClient {
		return nil
	}
	caller, err := client(tx, own)
	if errors.Is(err, ErrNoClient) {
		return ErrBeyondCaller
	}
	if err != nil {
		return err
	}
	if caller.TokenVersion != actor.Tokens() {
		return ErrToken
	}
	if !caller.ActsAs.IsZero() {
		return errOfAUser
	}
	for _, scope := range append([]string{ScopeManageClients}, c.Scopes...) {
		if !slices.Contains(caller.Scopes, scope) {
			return ErrBeyondCaller.With("a client gives other clients no scope that it lacks: %s", scope)
		}
	}
	for _, grant := range c.Grants {
		if !slices.Contains(caller.Grants, grant) {
			return ErrBeyondCaller.With("a client gives other clients no grant that it lacks: %s", grant)
		}
	}
	return nil
}

// putClient writes a client that was changed, and records what was changed: of a change of its members, their names.
func putClient(tx *storage.Tx, actor audit.Actor, c *registered, what audit.Word, members ...string) error {
	facts := c.facts()
	facts[audit.FactChange] = what
	if len(members) > 0 {
		facts[audit.FactMembers] = audit.Word(strings.Join(members, " "))
	}
	return errors.Join(
		clients.Put(tx, storage.House, c.ID, c),
		audit.Record(tx, actor, audit.Event{Type: audit.TenantUpdate, Client: c.ID, Facts: facts}, audit.Detail{}),
		audit.RecordCall(tx, actor, storage.House))
}

// matches reports whether a secret is the client's, or one before that still counts. It compares as many hashes for every client.
func (s *Service) matches(c *registered, id, secret string) (matches bool) {
	hashes := []string{c.SecretHash}
	for _, before := range c.Formers {
		if s.store.Now().Before(before.Until) {
			hashes = append(hashes, before.Hash)
		}
	}
	for i := range 1 + maxFormers {
		hash := s.decoy.SecretHash
		if i < len(hashes) {
			hash = hashes[i]
		}
		matched := s.ring.Matches(hash, secretPurpose, []byte(id), []byte(secret))
		matches = matches || matched && i < len(hashes)
	}
	return matches
}
