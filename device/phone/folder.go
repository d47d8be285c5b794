package phone

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The files of a phone's folder.
const (
	deviceFile   = "phone.json"
	platformFile = "platform-backup.json"
	hardwareFile = "hardware-keys.json"
	lockFile     = "lock"
)

// state is all that a phone knows, in three parts. A reinstall treats each of them differently.
type state struct {
	device   device
	platform PlatformBackup
	hardware hardware
}

// device is the phone itself. A reinstall leaves it alone.
type device struct {
	Identifier   string           `json:"identifier"`
	Name         string           `json:"name"`
	Algorithm    Algorithm        `json:"algorithm"`
	Capabilities []string         `json:"capabilities"`
	Platform     string           `json:"platform,omitempty"`
	Push         *PushCredentials `json:"push_credentials,omitempty"`
	Distributor  *distributor     `json:"distributor,omitempty"` // the phone's own Web Push service, once it has rung
}

// PlatformBackup is what iCloud or Google carry from one installation to the next. It opens no login: a thief of it still
// needs the recovery code.
type PlatformBackup struct {
	BaseURL            string    `json:"base_url,omitempty"`
	UserID             string    `json:"user_id,omitempty"`
	Issuer             string    `json:"issuer,omitempty"` // what the server calls itself
	RestoreHandle      string    `json:"restore_handle,omitempty"`
	BlobKey            []byte    `json:"blob_key,omitempty"`   // 32 random bytes; seals the backups kept by the server
	Provider           Provider  `json:"provider,omitempty"`   // of the last backup
	Accounts           []Account `json:"accounts,omitempty"`   // with their secrets only when the provider is the platform
	Generation         int64     `json:"generation,omitempty"` // the last one seen
	ManifestDigest     string    `json:"manifest_digest,omitempty"`
	NoAutomaticRestore bool      `json:"no_automatic_restore,omitempty"` // switched off in the phone's settings
}

// hardware is what this installation alone has, and a reinstall loses.
type hardware struct {
	Enrollment         *Enrollment `json:"enrollment,omitempty"`
	Enrolling          *enrolling  `json:"enrolling,omitempty"`
	Restoring          *restoring  `json:"restoring,omitempty"`
	Sending            *sending    `json:"sending,omitempty"`
	HandleInDoubt      bool        `json:"handle_in_doubt,omitempty"` // the phone asked for a new handle and has not seen the answer
	Accounts           []Account   `json:"accounts,omitempty"`
	UnseenRecoveryCode string      `json:"unseen_recovery_code,omitempty"`
}

// folder keeps the state on disk. With an empty path it keeps nothing.
type folder struct{ path string }

// load reads all files that exist. A damaged file is an error, and stays as it is.
func (f folder) load(s *state) error {
	if f.path == "" {
		return nil
	}
	for name, part := range s.parts() {
		data, err := os.ReadFile(filepath.Join(f.path, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read the phone's state: %w", err)
		}
		if err := json.Unmarshal(data, part); err != nil {
			return fmt.Errorf("phone's state in %s is damaged: %w", filepath.Join(f.path, name), err)
		}
	}
	return nil
}

func (s *state) parts() map[string]any {
	return map[string]any{deviceFile: &s.device, platformFile: &s.platform, hardwareFile: &s.hardware}
}

// save writes the parts that changed, each file whole or not at all. It writes the platform backup before the hardware
// keys: so a crash can lose a part of an answer, which the phone can ask for again, but nothing that only the phone has.
func (f folder) save(s *state) error {
	if f.path == "" {
		return nil
	}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return fmt.Errorf("make the phone's folder: %w", err)
	}
	parts := s.parts()
	for _, name := range []string{deviceFile, platformFile, hardwareFile} {
		data, err := json.MarshalIndent(parts[name], "", "  ")
		if err != nil {
			return fmt.Errorf("encode the phone's state: %w", err)
		}
		if err := f.replace(name, append(data, '\n')); err != nil {
			return fmt.Errorf("write the phone's state: %w", err)
		}
	}
	return nil
}

// replace replaces a file's content in one step. It writes beside the file, syncs, renames and syncs the folder, in that
// order: a rename that reaches the disk before its data leaves an empty file after a power cut.
func (f folder) replace(name string, data []byte) error {
	path, err := throughLinks(filepath.Join(f.path, name))
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(path), name+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(temp.Name()) }() // gone already when the rename succeeded
	_, err = temp.Write(data)
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// throughLinks returns the file that a path leads to, through symbolic links. A rename over the link itself would leave
// the old keys in the file behind it.
func throughLinks(path string) (string, error) {
	file, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	return file, err
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// lock keeps other processes from changing the same phone until unlock. The kernel lets go of it when a process dies.
func (f folder) lock() (unlock func(), err error) {
	if f.path == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(f.path, 0o700); err != nil {
		return nil, fmt.Errorf("make the phone's folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(f.path, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the phone's folder: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("lock the phone's folder: %w", err)
	}
	return func() { _ = file.Close() }, nil // closing gives the lock back
}
