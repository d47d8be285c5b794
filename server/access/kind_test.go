package access

import (
	"slices"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/keyring"
)

// place is where a token of one kind is accepted.
type place struct {
	kind    string // what is accepted
	accepts func(token string) bool
}

// tokens makes one good token of every kind. Those that other packages make are opaque: characters at random stand
// for them here, and the test over HTTP has real ones.
func (h *house) tokens(c Client, secret string) map[string]string {
	h.t.Helper()
	made := map[string]string{"client_secret": secret}
	var err error
	made["id_token"], err = h.IDToken(h.ctx(), c, login)
	must(h.t, err)
	made["access_token"], err = h.AccessToken(h.ctx(), c, login, "", c.Scopes)
	must(h.t, err)
	made["management_token"], _, err = h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(h.t, err)
	made["enrolment_token"], err = h.EnrolmentToken(h.ctx(), login, Enrolment{
		Audience: h.public[0] + enrollmentPath,
		ClientID: c.ID,
		TxID:     "mfa_1",
		Scopes:   EnrolmentScopes(nil),
		Until:    h.store.Wall().Add(time.Minute),
	})
	must(h.t, err)
	made["receipt"], err = h.SignReceipt(h.ctx(), []byte("{}"))
	must(h.t, err)
	made["result_token"], err = h.ResultToken(h.ctx(), c, login, "mfa_1", time.Minute)
	must(h.t, err)
	must(h.t, h.ReadySET(h.ctx()))
	made["security_event_token"], err = h.SignSET(h.ctx(), []byte("{}"))
	must(h.t, err)
	for _, kind := range keyring.Kinds {
		made[string(kind)], err = h.ring.SignToken(kind, map[string]string{"aud": h.ManagementAudience(), "gty": grantOfManagement})
		must(h.t, err)
	}
	for _, kind := range Kinds {
		if kind.Typ == "" && made[kind.Name] == "" {
			made[kind.Name] = storage.NewID("", clientSecretLength)
		}
	}
	return made
}

func (h *house) places(c Client) []place {
	places := []place{
		{"client_secret", func(token string) bool {
			_, err := h.Authenticate(h.ctx(), c.ID, token)
			return err == nil
		}},
		{"management_token", func(token string) bool {
			_, err := h.VerifyManagement(h.ctx(), token)
			return err == nil
		}},
		{"enrolment_token", func(token string) bool {
			_, err := h.VerifyEnrolment(h.ctx(), token)
			return err == nil
		}},
		{"receipt", func(token string) bool {
			jwks, err := h.JWKS(h.ctx())
			must(h.t, err)
			_, err = VerifyReceipt(token, jwks)
			return err == nil
		}},
	}
	for _, kind := range keyring.Kinds {
		places = append(places, place{string(kind), func(token string) bool {
			return h.ring.VerifyToken(kind, token, new(map[string]any)) == nil
		}})
	}
	return places
}

func TestKinds_NoneIsTakenForAnother(t *testing.T) {
	h := newHouse(t)
	for _, alg := range []string{"ES256", "RS256"} {
		c, secret := h.client(Client{Scopes: []string{"openid", "read:users"}, IDTokenAlg: alg})
		tokens := h.tokens(c, secret)
		for _, kind := range Kinds {
			token, ok := tokens[kind.Name]
			if !ok {
				t.Fatalf("kind %s has no row: make one of it in tokens", kind.Name)
			}
			for _, place := range h.places(c) {
				if accepted := place.accepts(token); accepted != (place.kind == kind.Name) {
					t.Errorf("%s: a %s in the place of a %s is accepted: %t", alg, kind.Name, place.kind, accepted)
				}
			}
		}
	}
}

func TestKinds_AreNamedOnceAndHaveTheTypThatTheySay(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"openid", "read:users"}})
	tokens := h.tokens(c, secret)
	for i, kind := range Kinds {
		if slices.IndexFunc(Kinds, func(k Kind) bool { return k.Name == kind.Name }) != i {
			t.Errorf("kind %s is there twice", kind.Name)
		}
		if kind.Typ != "" && headerOf(t, tokens[kind.Name]).ExtraHeaders["typ"] != kind.Typ {
			t.Errorf("kind %s has typ %v", kind.Name, headerOf(t, tokens[kind.Name]).ExtraHeaders["typ"])
		}
	}
	for _, kind := range keyring.Kinds {
		if !slices.ContainsFunc(Kinds, func(k Kind) bool { return k.Name == string(kind) }) {
			t.Errorf("kind %s of the keyring is missing", kind)
		}
	}
}
