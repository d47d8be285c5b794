package phone

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// Provider is who keeps a backup: the server, or the phone's platform, whose backup the server only tracks.
type Provider string

// The providers of a backup.
const (
	Server Provider = "server"
	ICloud Provider = "icloud"
	Google Provider = "google"
)

// Version is one generation of a backup as the server lists it. Digest is the SHA-256 of the body, in hex; CreatedAt stays
// as the server wrote it. Only lists hold Manifest and PublicKey.
type Version struct {
	Generation int64    `json:"generation"`
	Digest     string   `json:"digest"`
	Size       int      `json:"size"`
	Items      int      `json:"items"`
	Provider   Provider `json:"provider,omitempty"`
	CreatedAt  string   `json:"created_at"`
	Manifest   string   `json:"manifest,omitempty"`
	PublicKey  *JWK     `json:"public_key,omitempty"`
}

// manifest is what the phone signs about a generation.
type manifest struct {
	EnrollmentID string   `json:"iss"`
	Generation   int64    `json:"generation"`
	Parent       string   `json:"parent"`
	Digest       string   `json:"digest"`
	Size         int      `json:"size"`
	Items        int      `json:"items"`
	Provider     Provider `json:"provider"`
}

// sending is a backup that was sent, or is about to be. The phone can repeat its PUT and gets the same answer.
type sending struct {
	Generation int64     `json:"generation"`
	Manifest   string    `json:"manifest"`
	Body       []byte    `json:"body"`
	Accounts   []Account `json:"accounts"`
	Provider   Provider  `json:"provider"`
}

// BackupOptions say how to back up. The zero value keeps the provider of the last backup, the server at first.
type BackupOptions struct {
	Provider Provider
	Shrink   bool // the person did mean to remove most accounts
}

// RolledBackError reports a server that lost what it once had: its chain of manifests does not reach the generation that
// the phone remembers. The accounts on the phone are untouched. Found is the server's latest generation, 0 for none.
type RolledBackError struct {
	Remembered, Found int64
	Detail            string
}

// Error says which generation the phone remembers and which the server has.
func (e *RolledBackError) Error() string {
	return fmt.Sprintf("the server was rolled back: this phone remembers generation %d of its backup, the server has %d (%s)",
		e.Remembered, e.Found, e.Detail)
}

func hexDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Backup makes accounts the accounts of this phone and backs them up as the next generation.
//
// Key, accounts and the signed manifest are on disk before the call. When the answer to an earlier Backup was lost,
// Backup first sends that one again; if it held the same accounts, its answer is returned. Errors: ErrNotEnrolled;
// *RolledBackError; *Error with backup_conflict (another generation is there: call FetchBackup, then Backup again),
// backup_shrinks (see BackupOptions.Shrink), body_too_large.
func (p *Phone) Backup(ctx context.Context, accounts []Account, o BackupOptions) (Version, error) {
	end, err := p.begin()
	if err != nil {
		return Version{}, err
	}
	defer end()
	e, err := p.enrolled()
	if err != nil {
		return Version{}, err
	}
	if earlier := p.snapshot().hardware.Sending; earlier != nil {
		v, err := p.send(ctx, e, earlier)
		if err == nil && reflect.DeepEqual(earlier.Accounts, accounts) && (o.Provider == "" || o.Provider == earlier.Provider) {
			return v, p.settleHandle(ctx, e)
		}
		if err != nil && p.snapshot().hardware.Sending != nil { // not refused: it may still arrive
			return Version{}, err
		}
	}
	knew := p.snapshot().platform
	v, err := p.backUp(ctx, e, accounts, o)
	if inherits(knew, err) {
		if err = p.inherit(err); err == nil {
			v, err = p.backUp(ctx, e, accounts, o)
		}
	}
	if err != nil {
		return Version{}, err
	}
	return v, p.settleHandle(ctx, e)
}

// inherits reports whether a PUT was refused because this phone took the place of another one, whose backup it has no
// key to. Then its own generations follow that backup's. A phone that has the key reads the backup first.
func inherits(knew PlatformBackup, err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Code == "backup_conflict" && refused.Generation > 0 && refused.Manifest != "" &&
		knew.Generation == 0 && len(knew.BlobKey) == 0
}

// inherit remembers the generation that the refusal of a PUT names.
func (p *Phone) inherit(err error) error {
	var refused *Error
	errors.As(err, &refused)
	return p.change(func(s *state) {
		s.platform.Generation = refused.Generation
		s.platform.ManifestDigest = hexDigest([]byte(refused.Manifest))
	})
}

// backUp makes the next generation and sends it.
func (p *Phone) backUp(ctx context.Context, e *Enrollment, accounts []Account, o BackupOptions) (Version, error) {
	next, err := p.prepareBackup(e, accounts, o)
	if err != nil {
		return Version{}, err
	}
	return p.send(ctx, e, next)
}

// prepareBackup seals and signs the next generation, and writes it down.
func (p *Phone) prepareBackup(e *Enrollment, accounts []Account, o BackupOptions) (*sending, error) {
	s := p.snapshot()
	next := &sending{
		Generation: s.platform.Generation + 1,
		Accounts:   accounts,
		Provider:   o.Provider,
		Body:       []byte{},
	}
	if next.Provider == "" {
		next.Provider = s.platform.Provider
	}
	if next.Provider == "" {
		next.Provider = Server
	}
	key := s.platform.BlobKey
	if len(key) == 0 {
		key = newBlobKey()
	}
	if next.Provider == Server {
		body, err := sealAccounts(key, accounts, e.ID, next.Generation)
		if err != nil {
			return nil, err
		}
		next.Body = body
	}
	claims := map[string]any{
		"iss": e.ID, "generation": next.Generation, "parent": s.platform.ManifestDigest, "digest": hexDigest(next.Body),
		"size": len(next.Body), "items": len(accounts), "provider": next.Provider,
		"automatic_restore": !s.platform.NoAutomaticRestore, "iat": p.seconds(p.now()),
	}
	if o.Shrink {
		claims["shrink"] = true
	}
	signed, err := p.sign(Manifest, e.Key, claims)
	if err != nil {
		return nil, err
	}
	next.Manifest = signed
	return next, p.change(func(s *state) {
		s.platform.BlobKey = key
		s.platform.Provider = next.Provider
		s.platform.Accounts = carried(accounts, next.Provider)
		s.hardware.Accounts = accounts
		s.hardware.Sending = next
	})
}

// carried returns the accounts as the platform backup holds them: with their names, so that the person sees what will
// come back, and with their secrets only when the platform keeps the backup.
func carried(accounts []Account, by Provider) []Account {
	if by != Server {
		return accounts
	}
	names := make([]Account, len(accounts))
	for i, a := range accounts {
		names[i] = Account{Issuer: a.Issuer, Name: a.Name}
	}
	return names
}

// send puts a prepared generation and remembers it. After a refusal it forgets the generation, but not after a lost answer
// or when the server is in trouble.
func (p *Phone) send(ctx context.Context, e *Enrollment, b *sending) (Version, error) {
	header := map[string]string{"Backup-Manifest": b.Manifest}
	if b.Generation == 1 {
		header["If-None-Match"] = "*"
	} else {
		header["If-Match"] = etag(b.Generation - 1)
	}
	response, err := p.deviceCall(ctx, Call{
		Method: http.MethodPut,
		Path:   e.devicePath("/backup"),
		Header: header,
		Body:   b.Body,
	})
	if err != nil {
		return Version{}, p.notSent(ctx, err)
	}
	var got struct {
		Version
		RestoreHandle string `json:"restore_handle"`
	}
	if err := response.decode(&got); err != nil {
		return Version{}, err
	}
	if got.Generation != b.Generation || got.Digest != hexDigest(b.Body) {
		return Version{}, fmt.Errorf("server kept generation %d in place of %d, or other bytes than were sent", got.Generation, b.Generation)
	}
	got.Items = len(b.Accounts)
	got.Size = len(b.Body)
	got.Provider = b.Provider
	return got.Version, p.change(func(s *state) {
		s.platform.Generation = b.Generation
		s.platform.ManifestDigest = hexDigest([]byte(b.Manifest))
		if got.RestoreHandle != "" {
			s.platform.RestoreHandle = got.RestoreHandle
		}
		s.hardware.Sending = nil
	})
}

// notSent finds out why a PUT failed. A refusal is final, and may come from a server that was rolled back.
func (p *Phone) notSent(ctx context.Context, err error) error {
	var refused *Error
	if !errors.As(err, &refused) || refused.StatusCode >= 500 || refused.StatusCode == http.StatusTooManyRequests {
		return err
	}
	if kept := p.change(func(s *state) { s.hardware.Sending = nil }); kept != nil {
		return errors.Join(err, kept)
	}
	known := p.snapshot().platform
	switch {
	case refused.Code == "backup_conflict" && refused.Generation < known.Generation:
		return &RolledBackError{known.Generation, refused.Generation, "newer generations are gone"}
	case refused.Code == "backup_invalid": // also when our parent is not the one there, though the number is
		var rolledBack *RolledBackError
		if v, _, fetched := p.fetch(ctx, ""); fetched == nil && errors.As(p.follows(ctx, known, v), &rolledBack) {
			return rolledBack
		}
	}
	return err
}

func etag(generation int64) string { return `"` + strconv.FormatInt(generation, 10) + `"` }

// settleHandle asks for a new restore handle when the phone holds none, or one that may be dead: the phone asked for
// another and lost the answer, which the server repeats only for a while.
func (p *Phone) settleHandle(ctx context.Context, e *Enrollment) error {
	s := p.snapshot()
	if s.platform.RestoreHandle != "" && !s.hardware.HandleInDoubt {
		return nil
	}
	return p.newHandle(ctx, e, false)
}

// NewHandle asks for another restore handle. The three before it still find the backup for 30 days; revoke ends all of them.
// Its *Error is backup_not_found when nothing was backed up.
func (p *Phone) NewHandle(ctx context.Context, revoke bool) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	e, err := p.enrolled()
	if err != nil {
		return err
	}
	return p.newHandle(ctx, e, revoke)
}

func (p *Phone) newHandle(ctx context.Context, e *Enrollment, revoke bool) error {
	if err := p.change(func(s *state) { s.hardware.HandleInDoubt = true }); err != nil {
		return err
	}
	response, err := p.deviceCall(ctx, Call{
		Method: http.MethodPost,
		Path:   e.devicePath("/backup/handle"),
		JSON:   map[string]bool{"revoke": revoke},
	})
	if err != nil {
		return err
	}
	var got struct {
		RestoreHandle string `json:"restore_handle"`
	}
	if err := response.decode(&got); err != nil {
		return err
	}
	if got.RestoreHandle == "" {
		return errors.New("server's answer holds no restore handle")
	}
	return p.change(func(s *state) {
		s.platform.RestoreHandle = got.RestoreHandle
		s.hardware.HandleInDoubt = false
	})
}

// FetchBackup reads the latest generation, checks that it follows what this phone remembers, opens it, and adds its
// accounts to those on the phone. Only then does it remember the generation, so the next Backup loses no account. When
// the platform keeps the backup, the accounts come out of the platform backup.
//
// Errors: ErrNotEnrolled; ErrNoBlobKey; ErrBackupSealed; *RolledBackError; *Error with backup_not_found.
func (p *Phone) FetchBackup(ctx context.Context) (Version, []Account, error) {
	end, err := p.begin()
	if err != nil {
		return Version{}, nil, err
	}
	defer end()
	known := p.snapshot().platform
	v, body, err := p.fetch(ctx, "")
	if CodeOf(err) == "backup_not_found" && known.Generation > 0 {
		return Version{}, nil, &RolledBackError{known.Generation, 0, "the backup is gone"}
	}
	if err != nil {
		return Version{}, nil, err
	}
	if err := p.follows(ctx, known, v); err != nil {
		return Version{}, nil, err
	}
	accounts, err := p.open(known, v, body)
	if err != nil {
		return Version{}, nil, err
	}
	return v, accounts, p.adoptBackup(v, accounts)
}

// AcceptRollback goes on from the generation that a rolled-back server has, once the app has told the person. The phone
// adds that generation's accounts to its own and remembers it, and the next Backup follows it. When the server has none, the
// next Backup starts anew. It returns the errors of FetchBackup but for *RolledBackError.
func (p *Phone) AcceptRollback(ctx context.Context) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	v, body, err := p.fetch(ctx, "")
	if CodeOf(err) == "backup_not_found" {
		return p.change((*state).forgetBackup)
	}
	if err != nil {
		return err
	}
	accounts, err := p.open(p.snapshot().platform, v, body)
	if err != nil {
		return err
	}
	return p.adoptBackup(v, accounts)
}

func (s *state) forgetBackup() {
	s.platform.RestoreHandle = ""
	s.platform.Generation = 0
	s.platform.ManifestDigest = ""
	s.hardware.Sending = nil
	s.hardware.HandleInDoubt = false
}

// adoptBackup takes over a generation that was read. It writes the accounts first, in a change of their own: if it wrote
// the generation first, a crash between the two would let the next Backup replace accounts that this phone never had.
func (p *Phone) adoptBackup(v Version, accounts []Account) error {
	err := p.change(func(s *state) { s.hardware.Accounts = Merge(s.hardware.Accounts, accounts) })
	if err != nil {
		return err
	}
	return p.change(func(s *state) {
		s.platform.Generation = v.Generation
		s.platform.ManifestDigest = hexDigest([]byte(v.Manifest))
		s.platform.Provider = v.Provider
		s.platform.Accounts = carried(s.hardware.Accounts, v.Provider)
	})
}

// FetchGeneration reads and opens an older generation, and changes nothing on the phone.
func (p *Phone) FetchGeneration(ctx context.Context, generation int64) (Version, []Account, error) {
	v, body, err := p.fetch(ctx, "/generations/"+strconv.FormatInt(generation, 10))
	if err != nil {
		return Version{}, nil, err
	}
	if v.Generation != generation {
		return Version{}, nil, fmt.Errorf("server answered with generation %d in place of %d", v.Generation, generation)
	}
	accounts, err := p.open(p.snapshot().platform, v, body)
	return v, accounts, err
}

// fetch reads a generation and checks that body, manifest and ETag belong together.
func (p *Phone) fetch(ctx context.Context, below string) (Version, []byte, error) {
	e, err := p.enrolled()
	if err != nil {
		return Version{}, nil, err
	}
	response, err := p.deviceCall(ctx, Call{Method: http.MethodGet, Path: e.devicePath("/backup" + below)})
	if err != nil {
		return Version{}, nil, err
	}
	v := Version{Manifest: response.Header.Get("Backup-Manifest")}
	m, err := v.manifest()
	if err != nil {
		return Version{}, nil, err
	}
	if m.Digest != hexDigest(response.Body) || m.Size != len(response.Body) || response.Header.Get("ETag") != etag(m.Generation) {
		return Version{}, nil, errors.New("backup as answered is not the one that its manifest describes")
	}
	v.Generation = m.Generation
	v.Digest = m.Digest
	v.Size = m.Size
	v.Items = m.Items
	v.Provider = m.Provider
	return v, response.Body, nil
}

func (v Version) manifest() (manifest, error) {
	var m manifest
	if err := payloadOf(v.Manifest, &m); err != nil {
		return manifest{}, fmt.Errorf("manifest of generation %d: %w", v.Generation, err)
	}
	return m, nil
}

// open decrypts a generation. When the platform keeps the backup it returns the accounts that the platform brought.
func (p *Phone) open(known PlatformBackup, v Version, body []byte) ([]Account, error) {
	if v.Provider != Server {
		return known.Accounts, nil
	}
	if len(known.BlobKey) == 0 {
		return nil, ErrNoBlobKey
	}
	m, err := v.manifest()
	if err != nil {
		return nil, err
	}
	return openAccounts(known.BlobKey, body, m.EnrollmentID, m.Generation)
}

// follows checks that the latest generation v comes after the remembered one: v is the same, or the parents that the
// manifests name lead from v back to it. When the server no longer keeps the remembered generation, follows walks as far as the
// chain goes. The seal binds the generation, and so still proves that v is no older blob.
func (p *Phone) follows(ctx context.Context, known PlatformBackup, v Version) error {
	rolledBack := func(detail string) error { return &RolledBackError{known.Generation, v.Generation, detail} }
	switch {
	case known.Generation == 0:
		return nil
	case v.Generation < known.Generation:
		return rolledBack("newer generations are gone")
	case v.Generation == known.Generation && hexDigest([]byte(v.Manifest)) != known.ManifestDigest:
		return rolledBack("its manifest is another")
	case v.Generation == known.Generation:
		return nil
	}
	versions, err := p.Generations(ctx)
	if err != nil {
		return err
	}
	if detail := chainBreak(versions, v, known); detail != "" {
		return rolledBack(detail)
	}
	return nil
}

// chainBreak walks versions, newest first, from latest back to the remembered generation, and says where the chain breaks,
// if it does.
func chainBreak(versions []Version, latest Version, known PlatformBackup) string {
	if len(versions) == 0 {
		return "it lists no generations"
	}
	for _, v := range versions {
		if v.Generation == known.Generation && hexDigest([]byte(v.Manifest)) != known.ManifestDigest {
			return "it is another"
		}
	}
	want := hexDigest([]byte(latest.Manifest))
	for generation := latest.Generation; generation > known.Generation; generation-- {
		i := int(latest.Generation - generation)
		if i >= len(versions) || i > 0 && versions[i].Generation < generation {
			return "" // the server keeps only some of those before the newest ten
		}
		v := versions[i]
		m, err := v.manifest()
		if err != nil || m.Generation != generation || hexDigest([]byte(v.Manifest)) != want {
			return fmt.Sprintf("the chain of manifests breaks at generation %d", generation)
		}
		if v.PublicKey == nil || verifyJWS(v.Manifest, *v.PublicKey) != nil {
			return fmt.Sprintf("the manifest of generation %d does not verify", generation)
		}
		want = strings.ToLower(m.Parent)
	}
	if want != known.ManifestDigest {
		return "the chain of manifests does not reach it"
	}
	return ""
}

// Generations lists the generations that the server keeps, newest first.
func (p *Phone) Generations(ctx context.Context) ([]Version, error) {
	e, err := p.enrolled()
	if err != nil {
		return nil, err
	}
	response, err := p.deviceCall(ctx, Call{Method: http.MethodGet, Path: e.devicePath("/backup/generations")})
	if err != nil {
		return nil, err
	}
	var versions []Version
	if err := json.Unmarshal(response.Body, &versions); err != nil {
		return nil, fmt.Errorf("list of generations: %w", err)
	}
	return versions, nil
}

// DeleteBackup removes the backup from the server. The accounts stay on the phone; the next Backup starts a new one.
func (p *Phone) DeleteBackup(ctx context.Context) error {
	end, err := p.begin()
	if err != nil {
		return err
	}
	defer end()
	e, err := p.enrolled()
	if err != nil {
		return err
	}
	_, err = p.deviceCall(ctx, Call{Method: http.MethodDelete, Path: e.devicePath("/backup")})
	if err != nil && CodeOf(err) != "backup_not_found" {
		return err
	}
	return p.change((*state).forgetBackup)
}

// UndeleteBackup brings a deleted backup back within 7 days of its deletion, and adds its accounts to those on the phone.
// It returns the errors of FetchBackup, and *Error with backup_not_found (nothing was deleted) or backup_conflict (the phone
// has begun another backup since).
func (p *Phone) UndeleteBackup(ctx context.Context) (Version, []Account, error) {
	end, err := p.begin()
	if err != nil {
		return Version{}, nil, err
	}
	defer end()
	e, err := p.enrolled()
	if err != nil {
		return Version{}, nil, err
	}
	if _, err := p.deviceCall(ctx, Call{Method: http.MethodPost, Path: e.devicePath("/backup/undelete")}); err != nil {
		return Version{}, nil, err
	}
	v, body, err := p.fetch(ctx, "")
	if err != nil {
		return Version{}, nil, err
	}
	accounts, err := p.open(p.snapshot().platform, v, body)
	if err != nil {
		return Version{}, nil, err
	}
	// The server knows the handles again, but the phone forgot them when it deleted the backup.
	return v, accounts, errors.Join(p.adoptBackup(v, accounts), p.settleHandle(ctx, e))
}
