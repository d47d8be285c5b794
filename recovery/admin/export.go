package admin

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
)

// Export is everything that is held about one person, in one document, without secrets and without the ciphertext of backups.
type Export struct {
	V      int                      `json:"v"`
	At     time.Time                `json:"at"`
	UserID string                   `json:"user_id"`
	Tables map[string][]ExportedRow `json:"tables" doc:"What is kept, by table. The members are those of the data file, and may change between releases."`
	Events []ExportedEvent          `json:"events" doc:"The events about the user, oldest first, each with what is still known beside it."`
}

// ExportedRow is one record.
type ExportedRow struct {
	Key    string         `json:"key,omitempty"`
	Record map[string]any `json:"record,omitempty"`
	Bytes  int            `json:"bytes,omitempty" doc:"Of what is left out because it is ciphertext, or stands elsewhere in the document."`
}

// ExportedEvent is one event about the user.
type ExportedEvent struct {
	audit.Event
	Detail audit.Detail `json:"detail,omitzero"`
}

// exported says of each table of users what an export has of it.
type exported struct {
	leaves []string // members that open something, or that would if they could be guessed
	bytes  bool     // nothing but its size: it is ciphertext, or stands elsewhere in the document
	not    bool     // nothing at all: it says nothing that another row does not say
}

// exports names every table of users, so that a new one is thought of. Sealed fields are left out of all.
var exports = map[string]exported{
	"user":                 {},
	"user_words":           {not: true}, // parts of the record, to be found by
	"log_key":              {not: true},
	"enrollment":           {leaves: []string{"push.token"}},
	"push_address":         {},
	"push_history":         {leaves: []string{"addresses"}},
	"push_lost":            {},
	"device_call":          {},
	"ticket":               {leaves: []string{"hash", "page", "mark", "grant.code_mark"}},
	"recovery_code":        {leaves: []string{"hash"}},
	"recoverability":       {},
	"recoverability_due":   {not: true}, // when to look at it again
	"remembered_browser":   {leaves: []string{"hash"}},
	"limit":                {},
	"passkey_admin":        {},
	"admin_invite":         {leaves: []string{"hash", "browser"}},
	"admin_session":        {leaves: []string{"hash"}},
	"passkey_attestation":  {},
	"passkey_ceremony":     {not: true}, // challenges, for minutes
	"passkey_handle":       {leaves: []string{"handle"}},
	"notice":               {},
	"signal_removed":       {},
	"webhook_letter":       {leaves: []string{"body"}},
	"webhook_ticket":       {leaves: []string{"body"}},
	"answer":               {leaves: []string{"code"}},
	"own_session":          {leaves: []string{"hash", "opened.code_mark", "proven.code_mark"}},
	"login":                {leaves: []string{"number", "challenge", "shown", "params", "code_mark"}},
	"mfa_start":            {},
	"pace":                 {},
	"push_budget":          {},
	"caller_check":         {},
	"backup":               {leaves: []string{"handle", "earlier"}},
	"backup_chunk":         {bytes: true},
	"backup_version":       {leaves: []string{"manifest"}}, // it may hold a wrapped key
	"backup_handle":        {},
	"restore":              {leaves: []string{"token", "handle", "code", "repeats"}},
	"restore_key":          {},
	"restore_start":        {},
	"restore_veto":         {},
	"receipt":              {},
	"receipt_evidence":     {},
	"event":                {not: true}, // pointers to the events
	"event_detail":         {not: true}, // with the events
	"event_account_detail": {not: true}, // with the events
	"event_count":          {},
	"fold":                 {},
	"outbox":               {},
	"outbox_account":       {},
	"outbox_evidence":      {},
	"outbox_mark":          {},
	"outbox_aside":         {bytes: true},
}

// ExportUser returns everything that is held about a user.
//
// Errors: user.ErrUnknown.
func (s *Service) ExportUser(ctx context.Context, userID string) (out Export, err error) {
	var uid storage.UID
	err = s.store.View(ctx, func(tx *storage.Tx) error {
		u, err := user.Find(tx, userID)
		if err != nil {
			return err
		}
		uid = u.UID
		out = Export{
			V:      1,
			At:     tx.Now(),
			UserID: u.ID,
			Tables: map[string][]ExportedRow{},
		}
		var failed error
		err = storage.Dump(tx, uid, func(d storage.Dumped) bool {
			var row ExportedRow
			var shown bool
			if row, shown, failed = exportRow(d); shown {
				out.Tables[d.Table] = append(out.Tables[d.Table], row)
			}
			return failed == nil
		})
		if err == nil {
			err = failed
		}
		return err
	})
	if err != nil {
		return out, err
	}
	out.Events, err = s.exportEvents(ctx, uid)
	return out, err
}

// exportRow returns a row as it is exported. A table that nobody has thought of is left out: what is secret in it is not known.
func exportRow(d storage.Dumped) (row ExportedRow, shown bool, err error) {
	how, known := exports[d.Table]
	if !known || how.not {
		return row, false, nil
	}
	row.Key = d.Key
	if how.bytes || d.Record == nil {
		row.Bytes = d.Bytes
		return row, true, nil
	}
	if err := json.Unmarshal(d.Record, &row.Record); err != nil {
		return row, false, err
	}
	for _, member := range how.leaves {
		leaveOut(row.Record, member)
	}
	maps.DeleteFunc(row.Record, func(_ string, value any) bool { return value == nil }) // what was sealed
	return row, true, nil
}

// leaveOut removes a member, which may lie in another: a.b.
func leaveOut(record map[string]any, member string) {
	for i := range member {
		if member[i] != '.' {
			continue
		}
		if inner, ok := record[member[:i]].(map[string]any); ok {
			leaveOut(inner, member[i+1:])
		}
		return
	}
	delete(record, member)
}

func (s *Service) exportEvents(ctx context.Context, uid storage.UID) ([]ExportedEvent, error) {
	entries, _, err := audit.List(ctx, s.store, audit.Query{UID: uid, Oldest: true}, false)
	list := make([]ExportedEvent, 0, len(entries))
	for _, e := range entries {
		list = append(list, ExportedEvent{Event: e.Event, Detail: e.Detail})
	}
	return slices.Clip(list), err
}
