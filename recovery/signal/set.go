package signal

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Claims are those of a SET. Source: RFC 8417 §2.2; SSF 1.0, "Security Event Tokens": no sub, no exp, one event.
type Claims struct {
	Issuer   string         `json:"iss"`
	Audience string         `json:"aud"`
	ID       string         `json:"jti"`
	Issued   int64          `json:"iat"`
	Happened int64          `json:"toe,omitempty"`
	Txn      string         `json:"txn,omitempty"` // the event's id in the log: GET /logs/{id}
	Subject  Subject        `json:"sub_id"`
	Events   map[string]any `json:"events"`
}

// Subject is a subject identifier. Source: RFC 9493.
type Subject struct {
	Format string `json:"format"`        // iss_sub, or opaque of a stream
	Issuer string `json:"iss,omitempty"` // of iss_sub
	Sub    string `json:"sub,omitempty"` // the login system's user id
	ID     string `json:"id,omitempty"`  // of opaque
}

// The formats of subjects.
const (
	formatIssSub = "iss_sub"
	formatOpaque = "opaque"
)

// claimsOf returns the claims of an item's SET, as it may be told now.
//
// Errors: errNoItem.
func (s *Service) claimsOf(tx *storage.Tx, to *Stream, i *item) (*Claims, error) {
	c := &Claims{
		Issuer:   s.Issuer,
		Audience: to.Client,
		ID:       i.jti(),
		Issued:   tx.Wall().Unix(), // the receiver compares it with its own clock
	}
	if i.UID.IsZero() {
		c.Subject = Subject{Format: formatOpaque, ID: to.ID}
		about := map[string]any{}
		for name, value := range map[string]string{"state": i.State, "status": string(i.Status), "reason": i.Reason} {
			if value != "" {
				about[name] = value
			}
		}
		c.Events = map[string]any{i.Type: about}
		return c, nil
	}
	e, err := audit.ReadRecorded(tx, i.UID, i.Event)
	if errors.Is(err, audit.ErrNotFound) { // it is older than events are kept
		return nil, errNoItem
	}
	if err != nil {
		return nil, err
	}
	says := saidOf(e)
	if i.Index >= len(says) || !slices.Contains(to.Delivered(), i.Type) {
		return nil, errNoItem
	}
	u, err := user.Get(tx, i.UID)
	if errors.Is(err, user.ErrUnknown) { // nobody is left to be named
		return nil, errNoItem
	}
	if err != nil {
		return nil, err
	}
	c.Happened = e.Time.Unix()
	c.Txn = e.ID
	c.Subject = Subject{Format: formatIssSub, Issuer: s.Issuer, Sub: u.ID}
	c.Events = map[string]any{i.Type: says[i.Index].contentOf(e)}
	return c, nil
}

// sign makes the SET of some claims.
func (s *Service) sign(ctx context.Context, c *Claims) (string, error) {
	claims, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return s.Sign(ctx, claims)
}
