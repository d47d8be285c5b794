package recovery

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tutela/recovery/user"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/legible"
)

// MaxReasonBytes bounds the reason of a reset.
const MaxReasonBytes = 1000

// CallerChecks are the ways to check the person who asks for a reset.
var CallerChecks = []string{DeviceAnswered, "no_answer", "document", "in_person", "other"}

// DeviceAnswered says that the caller has answered on the user's phone.
const DeviceAnswered = "device_answered"

// ResetRequest is what an admin asks for.
type ResetRequest struct {
	Reason      string
	CallerCheck string // one of CallerChecks, or empty
	Check       string // with DeviceAnswered: the id of the caller check
	DryRun      bool   // remove nothing; the receipt says what would go
}

// Receipt is the proof of a reset. The payload of Signature is the receipt without residue and signature, because residue
// changes when the file is compacted.
type Receipt struct {
	V           int            `json:"v,omitempty"`       // the form: 1; 0 of an earlier release
	Evidence    []string       `json:"evidence,omitzero"` // none yet
	ID          string         `json:"id"`
	UserID      string         `json:"user_id"`
	UID         storage.UID    `json:"uid"`
	By          string         `json:"by"`
	Reason      string         `json:"reason"`
	CallerCheck string         `json:"caller_check,omitempty"`
	Check       string         `json:"check,omitempty"` // the id of the caller check that was approved
	At          time.Time      `json:"at"`
	DryRun      bool           `json:"dry_run"`
	Removed     []RemovedCount `json:"removed"`
	Summary     string         `json:"summary,omitempty"` // of Removed, in people's words
	Digest      string         `json:"digest"`            // "<ring version>.<base64url of HMAC-SHA-256>" over the sorted pairs of table and key
	Residue     bool           `json:"residue"`
	Signature   string         `json:"signature,omitempty"` // compact JWS (EdDSA); none on a dry run, which proves nothing
}

// MarshalJSON writes the receipt as it is answered, saved and signed: its time always has milliseconds.
func (r Receipt) MarshalJSON() ([]byte, error) {
	type members Receipt
	return json.Marshal(struct {
		members
		At string `json:"at"`
	}{members(r), storage.FormatInstant(r.At)})
}

// receiptForm is the form of receipts.
const receiptForm = 1

// Named is how many there are of what people know by a name.
type Named struct {
	Name string // of one: "phone"
	N    int
}

// summary says what people know by name of what was removed: "1 phone, 2 passkeys, 1 backup, 1 code". It is empty when there is nothing of
// that. authenticators are the rows of enrollments; none when they cannot be read.
func summary(removed []RemovedCount, authenticators []Named) string {
	rows := map[string]int{}
	for _, r := range removed {
		rows[r.Table] = r.Rows
	}
	if len(authenticators) == 0 {
		authenticators = []Named{{"authenticator", rows["enrollment"]}}
	}
	var parts []string
	for _, known := range append(authenticators, Named{"backup", rows["backup"]}, Named{"code", rows["recovery_code"]}) {
		switch {
		case known.N == 1:
			parts = append(parts, "1 "+known.Name)
		case known.N > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", known.N, known.Name))
		}
	}
	return strings.Join(parts, ", ")
}

// RemovedCount is how many rows of a table a reset removed.
type RemovedCount struct {
	Table string `json:"table"`
	Rows  int    `json:"rows"`
}

// receiptEvidence is the part of a receipt that stays for ever. Its only personal data is the uid.
type receiptEvidence struct {
	ID      string         `json:"id"`
	At      time.Time      `json:"at"`
	Removed []RemovedCount `json:"removed"`
	Digest  string         `json:"digest"`
}

// compaction says when the file was last compacted.
type compaction struct {
	At time.Time `json:"at"`
}

var (
	receipts    = storage.Declare(storage.Spec[Receipt]{Name: "receipt", Class: storage.Account, Most: mostReceipts})
	evidence    = storage.Declare(storage.Spec[receiptEvidence]{Name: "receipt_evidence", Class: storage.Evidence, Most: mostReceipts})
	compactions = storage.Declare(storage.Spec[compaction]{Name: "compaction", Class: storage.Settings})
)

// Errors of a reset.
var (
	ErrReason      = storage.NewError(storage.Invalid, fmt.Sprintf("a reset needs a reason of 1 to %d bytes", MaxReasonBytes))
	ErrCallerCheck = storage.NewError(storage.Invalid, "caller_check is device_answered, no_answer, document, in_person or other")
)

// Validate returns an error unless the request is valid.
//
// Errors: ErrReason; ErrCallerCheck.
func (req ResetRequest) Validate() error {
	if err := legible.Require("the reason of a reset", req.Reason, MaxReasonBytes); err != nil {
		return ErrReason.With("%v", err)
	}
	if req.CallerCheck != "" && !slices.Contains(CallerChecks, req.CallerCheck) {
		return ErrCallerCheck
	}
	if (req.CallerCheck == DeviceAnswered) != (req.Check != "") {
		return ErrCallerCheck.With("check is the id of a caller check, and stands with caller_check device_answered")
	}
	return nil
}

// Reset removes every record of the user's MFA and leaves a receipt. A second reset removes nothing and its receipt says
// so. The caller has found that the request is valid, and that the actor may, and says by which names people know the user's
// authenticators.
func (s *Service) Reset(
	ctx context.Context, tx *storage.Tx, u *user.User, req ResetRequest, authenticators []Named, actor audit.Actor,
) (Receipt, error) {
	removed, err := storage.Purge(tx, u.UID, req.DryRun, storage.MFA)
	if err != nil {
		return Receipt{}, err
	}
	// The receipt says what was removed: in numbers for people, and as a keyed hash over the rows.
	r := Receipt{
		ID:          storage.NewID("rcp_", 16),
		UserID:      u.ID,
		UID:         u.UID,
		By:          actor.By(),
		Reason:      req.Reason,
		CallerCheck: req.CallerCheck,
		Check:       req.Check,
		At:          tx.Now().Truncate(time.Millisecond),
		DryRun:      req.DryRun,
		V:           receiptForm,
		Evidence:    []string{},
		Removed:     count(removed),
		Summary:     summary(count(removed), authenticators),
		Digest:      s.digest(removed),
	}
	// A dry run writes nothing, so its receipt is not signed, and names only the residue of earlier resets.
	r.Residue, err = residue(tx, u.UID)
	if err != nil || req.DryRun {
		return r, err
	}
	r.Residue = r.Residue || len(removed) > 0
	err = s.keepReceipt(ctx, tx, u.UID, &r, actor)
	return r, err
}

// keepReceipt signs the receipt and writes it with its event.
func (s *Service) keepReceipt(ctx context.Context, tx *storage.Tx, uid storage.UID, r *Receipt, actor audit.Actor) error {
	payload, err := r.signed()
	if err != nil {
		return err
	}
	if r.Signature, err = s.sign(ctx, payload); err != nil {
		return fmt.Errorf("sign the receipt: %w", err)
	}
	tx.Count(Resets)
	sum := sha256.Sum256(payload)
	e := audit.Event{Type: audit.Reset, UID: uid, Facts: audit.Facts{
		audit.FactReceipt: audit.Word(r.ID),
		audit.FactSHA256:  audit.Word(hex.EncodeToString(sum[:])),
	}}
	return errors.Join(
		forgetReceipts(tx, uid),
		receipts.Put(tx, uid, r.ID, r),
		evidence.Put(tx, uid, r.ID, &receiptEvidence{
			ID:      r.ID,
			At:      r.At,
			Removed: r.Removed,
			Digest:  r.Digest,
		}),
		audit.RecordAccount(tx, actor, e, audit.Detail{Text: r.Reason}),
		audit.RecordCall(tx, actor, uid),
	)
}

// signed returns the bytes that the signature covers: everything except residue and the signature itself.
func (r Receipt) signed() ([]byte, error) {
	r.Signature = ""
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &members); err != nil {
		return nil, err
	}
	delete(members, "residue")
	return json.Marshal(members)
}

func count(removed []storage.Removed) []RemovedCount {
	counts := []RemovedCount{}
	for _, r := range removed { // sorted by table
		if n := len(counts); n > 0 && counts[n-1].Table == r.Table {
			counts[n-1].Rows++
			continue
		}
		counts = append(counts, RemovedCount{Table: r.Table, Rows: 1})
	}
	return counts
}

// digest returns the keyed hash over the sorted pairs of table and key, each framed by its length. Together with the keys it
// proves which rows were removed; without them it reveals nothing.
func (s *Service) digest(removed []storage.Removed) string {
	h := sha256.New()
	for _, r := range removed {
		for _, part := range []string{r.Table, r.Key} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write([]byte(part))
		}
	}
	return s.ring.Hash("receipt", h.Sum(nil))
}

// residue reports whether freed pages of the file may still hold bytes of what an earlier reset removed of this user.
func residue(tx *storage.Tx, uid storage.UID) (bool, error) {
	compacted, err := lastCompaction(tx)
	if err != nil {
		return false, err
	}
	rows, err := evidence.All(tx, uid)
	for _, row := range rows {
		if leaves(row.Record.Removed, row.Record.At, compacted) {
			return true, err
		}
	}
	return false, err
}

// leaves reports whether removed rows may still lie in freed pages. The rows were removed at at, and the last compaction began
// at compacted.
func leaves(removed []RemovedCount, at, compacted time.Time) bool {
	return len(removed) > 0 && !at.Before(compacted)
}

// lastCompaction returns when the last compaction began; the zero time before the first.
func lastCompaction(tx *storage.Tx) (time.Time, error) {
	last, err := compactions.Get(tx, storage.House, "")
	if errors.Is(err, storage.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return last.At, nil
}

// Compacted records that a compaction is done. Everything that was removed before began is gone.
func Compacted(tx *storage.Tx, began time.Time) error {
	return compactions.Put(tx, storage.House, "", &compaction{At: began.Truncate(time.Millisecond)}) // as receipts are
}

// Receipts returns the user's receipts, oldest first, each with its residue as of now.
func Receipts(tx *storage.Tx, uid storage.UID) ([]Receipt, error) {
	rows, err := receipts.All(tx, uid)
	if err != nil {
		return nil, err
	}
	compacted, err := lastCompaction(tx)
	list := make([]Receipt, 0, len(rows))
	for _, row := range rows {
		row.Record.Residue = leaves(row.Record.Removed, row.Record.At, compacted)
		list = append(list, *row.Record)
	}
	slices.SortStableFunc(list, func(a, b Receipt) int { return a.At.Compare(b.At) })
	return list, err
}
