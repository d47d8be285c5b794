package audit_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"tutela/storage"
	"tutela/storage/audit"
)

func TestActor_IsNamedInEventsByItsKindAndAnID(t *testing.T) {
	for want, actor := range map[string]audit.Actor{
		"operator:1000":                         audit.ByOperator(1000),
		"client:abc":                            audit.ByClient("abc", nil, storage.House),
		"user:0a000000000000000000000000000000": audit.ByAdmin(storage.UID{10}, nil),
	} {
		if actor.By() != want {
			t.Errorf("%s, want %s", actor.By(), want)
		}
	}
	for _, actor := range []audit.Actor{{}, audit.ByUser(), audit.ByUser().WithClient("abc")} {
		if actor.By() != "" {
			t.Errorf("%+v is named %s", actor, actor.By())
		}
	}
}

func TestActor_HasTheScopesItWasGivenAndTheOperatorAll(t *testing.T) {
	scopes := []string{"read:users"}
	client := audit.ByClient("c", scopes, storage.House)
	person := audit.ByAdmin(storage.UID{10}, scopes)
	scopes[0] = "reset:mfa"
	for name, got := range map[string]bool{
		"the operator":             audit.ByOperator(1).Has("reset:mfa"),
		"a client":                 client.Has("read:users") && !client.Has("reset:mfa"),
		"a client acts for nobody": !client.ActsFor(storage.House),
		"an admin":                 person.Has("read:users") && !person.Has("reset:mfa"),
		"an admin is one person":   person.ActsFor(storage.UID{10}) && !person.ActsFor(storage.UID{11}) && !person.IsOperator() && !person.IsClient(),
		"nobody":                   !audit.Actor{}.Has(""),
		"the user":                 !audit.ByUser().WithClient("c").Has("read:users"),
	} {
		if !got {
			t.Error(name)
		}
	}
}

func TestRecord_PutsTheActorIntoTheEventAndItsOriginIntoTheDetail(t *testing.T) {
	onEngines(t, func(t *testing.T, h *house) {
		uid := storage.NewUID()
		program := audit.ByClient("program", nil, storage.House).WithOrigin("192.0.2.1", "Agent/1").In("create_user")
		must(t, h.Update(t.Context(), func(tx *storage.Tx) error {
			return errors.Join(
				audit.Record(tx, program, audit.Event{Type: audit.Unenroll, UID: uid}, audit.Detail{Device: "a phone"}),
				audit.Record(tx, program, audit.Event{Type: audit.ClientAdded, Client: "other"}, audit.Detail{}),
				audit.RecordCall(tx, program, uid),
				audit.RecordCall(tx, audit.ByOperator(0), uid)) // by no management call: no event
		}))
		entries, _, err := audit.List(t.Context(), h.Store, audit.Query{Oldest: true}, false)
		must(t, err)
		if len(entries) != 3 {
			t.Fatalf("%d events", len(entries))
		}
		unenroll := entries[0]
		added := entries[1]
		call := entries[2]
		if unenroll.By != "client:program" || unenroll.Client != "program" ||
			unenroll.Detail != (audit.Detail{IP: "192.0.2.1", UserAgent: "Agent/1", Device: "a phone"}) {
			t.Errorf("event %+v", unenroll)
		}
		if added.Client != "other" || added.By != "client:program" {
			t.Errorf("an event about another client: %+v", added)
		}
		h.purge(uid, storage.MFA)
		call, err = audit.Get(t.Context(), h.Store, call.ID)
		must(t, err)
		if call.Type != audit.ManagementCall || call.Facts["call"] != "create_user" || call.Detail.IP != "192.0.2.1" {
			t.Errorf("after a reset the call is %+v", call)
		}
	})
}

func TestWithOrigin_KeepsAtMostSoMuchOfAUserAgentAndOnlyText(t *testing.T) {
	for _, agent := range []string{strings.Repeat("x", 10_000), "x" + strings.Repeat("é", 300), "\xff\xfe" + strings.Repeat("€", 400)} {
		_, kept := audit.ByUser().WithOrigin("", agent).Origin()
		if len(kept) > audit.MaxAgentBytes || len(kept) < audit.MaxAgentBytes-3 || !utf8.ValidString(kept) {
			t.Errorf("kept %d bytes: %q", len(kept), kept)
		}
	}
	if address, agent := audit.ByUser().WithOrigin("a", "b").WithoutOrigin().Origin(); address != "" || agent != "" {
		t.Errorf("still %q, %q", address, agent)
	}
}
