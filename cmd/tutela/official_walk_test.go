package main

import (
	"context"
	"strings"
	"testing"

	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"

	"tutela/device/phone"
	"tutela/storage"
)

// A program written for Auth0 finds a user, reads her enrolments and deletes each, by the official client and with nothing but a
// new domain. At the next login she is new, and nothing of her MFA is in the store.
func TestAuth0_AUserWhoseEnrolmentsAreDeletedSetsUpAsNew(t *testing.T) {
	m := mountTLS(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, m.road)
	api, err := management.New(m.domain(), management.WithClientCredentials(ctx, m.client.id, m.client.secret), management.WithClient(m.road))
	must(t, err)
	second, err := phone.New(phone.Options{BaseURL: m.url, Client: m.road})
	must(t, err)
	_, err = second.Enroll(ctx, m.ticket("maria"))
	must(t, err)
	_, err = second.Status(ctx)
	must(t, err)
	planted := []string{
		m.phone.Enrollment().ID, second.Enrollment().ID, m.phone.Enrollment().Token, m.held["recovery_code"], m.held["restore_handle"],
		m.phone.Identifier(), second.Identifier(),
	}
	if left := m.rawRows(planted); len(left) == 0 {
		t.Fatal("the control: nothing of her is in the store to begin with")
	}

	found, err := api.User.List(ctx, management.Query(`user_id:"maria"`))
	must(t, err)
	if len(found.Users) != 1 || found.Users[0].GetID() != "maria" {
		t.Fatalf("found %v", found)
	}
	enrollments, err := api.User.Enrollments(ctx, found.Users[0].GetID())
	must(t, err)
	if len(enrollments) != 2 {
		t.Fatalf("%d enrolments", len(enrollments))
	}
	for _, e := range enrollments {
		read, err := api.Guardian.Enrollment.Get(ctx, e.GetID())
		must(t, err)
		if read.GetStatus() != "confirmed" {
			t.Errorf("%s is %s", e.GetID(), read.GetStatus())
		}
		must(t, api.Guardian.Enrollment.Delete(ctx, e.GetID()))
	}
	none, err := api.User.Enrollments(ctx, "maria")
	must(t, err)
	if len(none) != 0 {
		t.Errorf("left %v", none)
	}

	started := m.ok(m.form("/mfa/start", "user_id", "maria"))
	if !strings.Contains(string(started.body), `"enroll"`) {
		t.Errorf("the next login finds %s", started.body)
	}
	if left := m.rawRows(planted); len(left) > 0 {
		t.Errorf("the store still has %q", left)
	}
}

// rawRows returns the keys of the rows, of all tables and events, that hold one of the texts as it is.
func (m *mounted) rawRows(texts []string) (keys []string) {
	m.t.Helper()
	m.must(m.house.engine.Peek(m.t.Context(), storage.Range{}, func(key, value []byte) bool {
		for _, text := range texts {
			if strings.Contains(string(key)+string(value), text) {
				keys = append(keys, string(key))
				break
			}
		}
		return true
	}))
	return keys
}
