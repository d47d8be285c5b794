package appapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tutela/device/phone"
	"tutela/storage"
)

func hexDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// manifest signs what a phone says about a version; change may change it.
func (h *house) manifest(p *phone.Phone, generation int, parent, body string, change func(map[string]any)) string {
	h.t.Helper()
	claims := map[string]any{
		"iss": p.Enrollment().ID, "generation": generation, "parent": "", "digest": hexDigest(body), "size": len(body),
		"items": 4, "provider": "server", "automatic_restore": true, "iat": h.clock.Wall().Unix(),
	}
	if parent != "" {
		claims["parent"] = hexDigest(parent)
	}
	if change != nil {
		change(claims)
	}
	signed, err := p.Enrollment().Key.Sign(map[string]any{"alg": string(p.Enrollment().Key.Algorithm)}, claims, false)
	h.must(err)
	return signed
}

// put sends a version; header are further header fields.
func (h *house) put(p *phone.Phone, manifest, body string, header ...string) answer {
	h.t.Helper()
	header = append([]string{
		"Authorization", h.bearer(p), "Backup-Manifest", manifest, "Content-Type", "application/octet-stream",
	}, header...)
	return h.call("PUT", path(p, "/backup"), body, header...)
}

func (h *house) get(p *phone.Phone, below string) answer {
	h.t.Helper()
	return h.call("GET", path(p, below), "", "Authorization", h.bearer(p))
}

func TestBackup_GivesBackWhatWasPut(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	h.refused(h.get(p, "/backup"), 404, "backup_not_found")
	h.refused(h.get(p, "/backup/generations"), 404, "backup_not_found")
	first := h.manifest(p, 1, "", "one\x00\xff", nil)
	a := h.put(p, first, "one\x00\xff", "If-None-Match", "*")
	h.accepted(a, 201)
	if a.header.Get("ETag") != `"1"` || a.body["generation"] != 1.0 || a.body["digest"] != hexDigest("one\x00\xff") || a.body["restore_handle"] == "" {
		t.Errorf("got %q %s", a.header.Get("ETag"), a.raw)
	}
	if _, err := time.Parse(storage.InstantLayout, a.body["created_at"].(string)); err != nil {
		t.Error(err)
	}
	second := h.manifest(p, 2, first, "two", nil)
	b := h.put(p, second, "two", "If-Match", `"1"`)
	h.accepted(b, 201)
	if _, has := b.body["restore_handle"]; has || b.header.Get("ETag") != `"2"` {
		t.Errorf("got %q %s", b.header.Get("ETag"), b.raw)
	}
	for below, want := range map[string][4]string{
		"/backup":               {"two", `"2"`, second},
		"/backup/generations/1": {"one\x00\xff", `"1"`, first},
		"/backup/generations/2": {"two", `"2"`, second},
	} {
		a := h.get(p, below)
		got := [4]string{a.raw, a.header.Get("ETag"), a.header.Get("Backup-Manifest")}
		if got != want || a.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s is %q, want %q", below, got, want)
		}
	}
	h.refused(h.get(p, "/backup/generations/3"), 404, "backup_not_found")
	h.refused(h.get(p, "/backup/generations/x"), 400, "invalid_uri")
}

func TestBackup_ListsGenerationsNewestFirstWithTheirProofs(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	first := h.manifest(p, 1, "", "one", nil)
	h.accepted(h.put(p, first, "one", "If-None-Match", "*"), 201)
	second := h.manifest(p, 2, first, "", func(m map[string]any) { m["provider"] = "icloud" })
	h.accepted(h.put(p, second, "", "If-Match", `W/"1-gzip"`), 201) // as a proxy writes it that compresses
	a := h.get(p, "/backup/generations")
	h.accepted(a, 200)
	var list []map[string]any
	h.must(json.Unmarshal([]byte(a.raw), &list))
	if len(list) != 2 || list[0]["generation"] != 2.0 || list[1]["generation"] != 1.0 {
		t.Fatalf("got %s", a.raw)
	}
	if list[0]["provider"] != "icloud" || list[0]["size"] != 0.0 || list[1]["size"] != 3.0 || list[1]["items"] != 4.0 || list[1]["manifest"] != first {
		t.Errorf("got %s", a.raw)
	}
	if key, _ := list[1]["public_key"].(map[string]any); key["kty"] != "EC" || key["crv"] != "P-256" || key["d"] != nil {
		t.Errorf("public_key is %v", list[1]["public_key"])
	}
}

func TestBackup_TheSamePutAgainGetsTheSameAnswer(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	manifest := h.manifest(p, 1, "", "one", nil)
	first := h.put(p, manifest, "one", "If-None-Match", "*")
	again := h.put(p, manifest, "one", "If-None-Match", "*")
	h.accepted(again, 201)
	if diff := cmp.Diff(first.body, again.body); diff != "" {
		t.Error(diff)
	}
	h.clock.Advance(16 * time.Minute)
	late := h.put(p, manifest, "one", "If-None-Match", "*")
	h.accepted(late, 201)
	if _, has := late.body["restore_handle"]; has {
		t.Error("the handle is kept for more than 15 minutes")
	}
}

func TestBackup_IsRefusedInTheOrderOfTheProtocol(t *testing.T) {
	h := newHouse(t)
	h.Set("backup.max_bytes", "1024")
	p, _ := h.enroll("maria")
	first := h.manifest(p, 1, "", "one", nil)
	h.accepted(h.put(p, first, "one", "If-None-Match", "*"), 201)
	other, err := phone.NewKey(phone.ES256)
	h.must(err)
	forged, err := other.Sign(map[string]any{"alg": "ES256"}, map[string]any{
		"iss": p.Enrollment().ID, "generation": 2, "parent": hexDigest(first), "digest": hexDigest("two"), "size": 3, "items": 4, "provider": "server",
	}, false)
	h.must(err)
	good := h.manifest(p, 2, first, "two", nil)
	large := strings.Repeat("x", 1025)
	set := func(name string, value any) string {
		return h.manifest(p, 2, first, "two", func(m map[string]any) { m[name] = value })
	}
	for name, c := range map[string]struct {
		manifest, body string
		header         []string
		status         int
		code           string
	}{
		"neither precondition":  {good, "two", nil, 400, "backup_invalid"},
		"both preconditions":    {good, "two", []string{"If-Match", `"1"`, "If-None-Match", "*"}, 400, "backup_invalid"},
		"no manifest":           {"", "two", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"no JWS":                {"one", "two", []string{"If-Match", `"9"`}, 400, "backup_invalid"},
		"stale":                 {good, "two", []string{"If-Match", `"9"`}, 412, "backup_conflict"},
		"first again":           {good, "two", []string{"If-None-Match", "*"}, 412, "backup_conflict"},
		"another generation":    {set("generation", 3), "two", []string{"If-Match", `"1"`}, 412, "backup_conflict"},
		"stale before mismatch": {good, "three", []string{"If-Match", `"9"`}, 412, "backup_conflict"},
		"another body":          {good, "three", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"another size":          {set("size", 4), "two", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"another key":           {forged, "two", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"another issuer":        {set("iss", "dev_0123456789abcdef"), "two", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"another parent":        {set("parent", hexDigest("x")), "two", []string{"If-Match", `"1"`}, 400, "backup_invalid"},
		"under half":            {set("items", 1), "two", []string{"If-Match", `"1"`}, 409, "backup_shrinks"},
		"too large":             {h.manifest(p, 2, first, large, nil), large, []string{"If-Match", `"1"`}, 413, "body_too_large"},
	} {
		t.Run(name, func(t *testing.T) {
			h.Unchanged(func() {
				a := h.put(p, c.manifest, c.body, c.header...)
				h.refused(a, c.status, c.code)
				if c.status == 412 && (a.body["generation"] != 1.0 || a.body["manifest"] != first || a.header.Get("ETag") != `"1"`) {
					t.Errorf("got %q %s", a.header.Get("ETag"), a.raw)
				}
			})
		})
	}
	exact := strings.Repeat("x", 1024)
	h.accepted(h.put(p, h.manifest(p, 2, first, exact, nil), exact, "If-Match", `"1"`), 201)
}

func TestBackup_LargerThanAnyPolicyIsCutOffAtTheDoor(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	body := strings.Repeat("x", 2<<20)
	h.refused(h.put(p, "m", body, "If-None-Match", "*"), 413, "body_too_large")
	h.refused(h.call("PATCH", path(p, ""), `{"name":"`+body[:100<<10]+`"}`, "Authorization", h.bearer(p)), 413, "body_too_large")
}

func TestBackup_ShrinksWhenThePhoneSaysSo(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	first := h.manifest(p, 1, "", "one", nil)
	h.accepted(h.put(p, first, "one", "If-None-Match", "*"), 201)
	none := h.manifest(p, 2, first, "", func(m map[string]any) {
		m["items"] = 0
		m["shrink"] = true
	})
	h.accepted(h.put(p, none, "", "If-Match", `"1"`), 201)
}

func TestBackup_DeletedBeginsAnewWithAnotherHandle(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	first := h.put(p, h.manifest(p, 1, "", "one", nil), "one", "If-None-Match", "*")
	h.accepted(h.call("DELETE", path(p, "/backup"), "", "Authorization", h.bearer(p)), 204)
	h.refused(h.call("DELETE", path(p, "/backup"), "", "Authorization", h.bearer(p)), 404, "backup_not_found")
	h.refused(h.call("POST", path(p, "/backup/handle"), "", "Authorization", h.bearer(p)), 404, "backup_not_found")
	again := h.put(p, h.manifest(p, 1, "", "two", nil), "two", "If-None-Match", "*")
	h.accepted(again, 201)
	handle := h.call("POST", path(p, "/backup/handle"), "", "Authorization", h.bearer(p))
	h.accepted(handle, 200)
	handles := map[any]bool{first.body["restore_handle"]: true, again.body["restore_handle"]: true, handle.body["restore_handle"]: true}
	if len(handles) != 3 || handles[nil] || handles[""] {
		t.Errorf("handles are %v", handles)
	}
}

func TestBackup_KeepsTenGenerations(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	parent := ""
	for n := 1; n <= 12; n++ {
		manifest := h.manifest(p, n, parent, fmt.Sprint(n), nil)
		precondition := []string{"If-Match", strconv.Quote(strconv.Itoa(n - 1))}
		if n == 1 {
			precondition = []string{"If-None-Match", "*"}
		}
		h.accepted(h.put(p, manifest, fmt.Sprint(n), precondition...), 201)
		parent = manifest
	}
	h.refused(h.get(p, "/backup/generations/1"), 404, "backup_not_found") // 2 is the newest of today before the ten
	if a := h.get(p, "/backup/generations/3"); a.status != 200 || a.raw != "3" {
		t.Errorf("got %d %q", a.status, a.raw)
	}
}

func TestBackup_OfASimulatedPhoneComesBackDecrypted(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	accounts := []phone.Account{{Issuer: "Hafenlicht", Name: "maria", Secret: "JBSWY3DPEHPK3PXP"}}
	_, err := p.Backup(t.Context(), accounts, phone.BackupOptions{})
	h.must(err)
	_, got, err := p.FetchBackup(t.Context())
	h.must(err)
	if diff := cmp.Diff(accounts, got); diff != "" {
		t.Error(diff)
	}
}

// Whoever has the key of her phone writes empty generations over her backup, and deletes it.
func TestBackup_ElevenEmptyPutsLeaveItsBodyAndADeleteIsTakenBack(t *testing.T) {
	h := newHouse(t)
	h.Set("restore.veto", "off") // the old phone is not what this is about
	p, _ := h.enroll("maria")
	parent := h.manifest(p, 1, "", "one", func(m map[string]any) { m["items"] = 10 })
	first := h.put(p, parent, "one", "If-None-Match", "*")
	h.accepted(first, 201)
	h.clock.Advance(24 * time.Hour)
	claimed := h.manifest(p, 2, parent, "", func(m map[string]any) { m["items"] = 10 })
	h.refused(h.put(p, claimed, "", "If-Match", `"1"`), 409, "backup_shrinks")
	for n := 2; n <= 12; n++ {
		next := h.manifest(p, n, parent, "", func(m map[string]any) {
			m["items"] = 10
			m["shrink"] = true
		})
		h.accepted(h.put(p, next, "", "If-Match", strconv.Quote(strconv.Itoa(n-1))), 201)
		parent = next
	}
	if a := h.get(p, "/backup/generations/1"); a.status != 200 || a.raw != "one" {
		t.Fatalf("yesterday's generation: %d %q", a.status, a.raw)
	}
	// Deleted, it is unseen, and comes back with its handle.
	handle := first.body["restore_handle"].(string)
	h.accepted(h.as(p, "DELETE", "/backup"), 204)
	h.refused(h.get(p, "/backup"), 404, "backup_not_found")
	h.found(handle, "no_backup")
	h.clock.Advance(6 * 24 * time.Hour)
	h.accepted(h.as(p, "POST", "/backup/undelete"), 204)
	h.accepted(h.as(p, "POST", "/backup/undelete"), 204) // its answer was lost
	h.found(handle, "backup_found")
	if a := h.get(p, "/backup/generations/1"); a.status != 200 || a.raw != "one" {
		t.Errorf("yesterday's generation: %d %q", a.status, a.raw)
	}
	// After a new PUT, and after seven days, it does not.
	h.accepted(h.as(p, "DELETE", "/backup"), 204)
	again := h.put(p, h.manifest(p, 1, "", "two", nil), "two", "If-None-Match", "*")
	h.accepted(again, 201)
	if again.body["restore_handle"] == handle {
		t.Error("the new backup has the handle of the deleted one")
	}
	h.refused(h.as(p, "POST", "/backup/undelete"), 409, "backup_conflict")
	h.accepted(h.as(p, "DELETE", "/backup"), 204)
	h.clock.Advance(7 * 24 * time.Hour)
	h.refused(h.as(p, "POST", "/backup/undelete"), 404, "backup_not_found")
}

// as makes a call to a phone's own enrollment, without a body.
func (h *house) as(p *phone.Phone, method, below string) answer {
	h.t.Helper()
	return h.call(method, path(p, below), "", "Authorization", h.bearer(p))
}

// found fails the test unless a restore that starts with a handle begins for this reason.
func (h *house) found(handle, reason string) {
	h.t.Helper()
	if s := h.start(handle, nil); s.body["reason"] != reason {
		h.t.Errorf("the restore begins with %s, want %s", s.raw, reason)
	}
}

// A platform makes its backups when it pleases: what it restores is the handle of some days ago.
func TestBackup_ARotatedHandleLeavesThePlatformBackupOfLastNightGood(t *testing.T) {
	h := newHouse(t)
	h.Set("restore.veto", "off") // the old phone is not what this is about
	p, code := h.enroll("maria")
	first := h.put(p, h.manifest(p, 1, "", "one", nil), "one", "If-None-Match", "*")
	h.accepted(first, 201)
	handles := []string{first.body["restore_handle"].(string)}
	renew := func(body string) {
		t.Helper()
		a := h.call("POST", path(p, "/backup/handle"), body, "Authorization", h.bearer(p))
		h.accepted(a, 200)
		handles = append(handles, a.body["restore_handle"].(string))
	}
	for range 3 {
		h.clock.Advance(24 * time.Hour)
		renew("")
	}
	h.found(handles[0], "backup_found")
	h.clock.Advance(24 * time.Hour)
	renew("{}")
	h.found(handles[0], "no_backup") // a fourth earlier one
	h.found(handles[1], "backup_found")
	h.clock.Advance(28 * 24 * time.Hour)
	h.found(handles[1], "no_backup") // past its 30 days
	h.found(handles[2], "backup_found")
	// A restore by an earlier one: its new handle leaves the others as they are.
	restore := h.start(handles[2], nil)
	done := h.redeem(restore, code)
	h.accepted(done, 200)
	next := done.body["restore_handle"].(string)
	h.found(handles[4], "backup_found")
	h.found(next, "backup_found")
	now := h.clock.Wall().Unix()
	jwt, err := restore.key.Sign(map[string]any{"alg": string(restore.key.Algorithm)}, map[string]any{
		"iss": done.body["id"], "sub": "maria", "aud": h.url + "/api/device-accounts", "iat": now, "exp": now + 60,
	}, false)
	h.must(err)
	a := h.call("POST", "/api/device-accounts/"+done.body["id"].(string)+"/backup/handle", `{"revoke": true}`, "Authorization", "Bearer "+jwt)
	h.accepted(a, 200)
	h.found(handles[4], "no_backup")
	h.found(next, "no_backup")
	h.found(a.body["restore_handle"].(string), "backup_found")
	if n := strings.Count(strings.Join(h.Rows("outbox"), ""), `"backup_handle_changed"`); n == 0 {
		t.Error("nobody is told of a new handle")
	}
}

func TestBackup_WhatAnAppKeepsInTheManifestForItselfIsListed(t *testing.T) {
	h := newHouse(t)
	p, _ := h.enroll("maria")
	slots := []any{map[string]any{"kind": "code", "salt": strings.Repeat("A", 8000)}}
	manifest := h.manifest(p, 1, "", "one", func(m map[string]any) {
		m["key"] = "k1"
		m["slots"] = slots
	})
	h.accepted(h.put(p, manifest, "one", "If-None-Match", "*"), 201)
	if a := h.get(p, "/backup"); a.header.Get("Backup-Manifest") != manifest {
		t.Error("the manifest does not come back as it was put")
	}
	a := h.get(p, "/backup/generations")
	h.accepted(a, 200)
	var list []map[string]any
	h.must(json.Unmarshal([]byte(a.raw), &list))
	if diff := cmp.Diff(any(slots), list[0]["slots"]); diff != "" || list[0]["key"] != "k1" || list[0]["rekey"] != nil {
		t.Errorf("listed: %.200s", a.raw)
	}
	large := h.manifest(p, 2, manifest, "two", func(m map[string]any) { m["slots"] = strings.Repeat("A", 8<<10) })
	h.refused(h.put(p, large, "two", "If-Match", `"1"`), 400, "backup_invalid")
}
