package keyring

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf16"

	"tutela/storage"
)

// MasterKey returns the master key: env if it is not empty (base64, either alphabet, padding optional), else the
// content of the file at path (32 raw bytes, or base64 text). With create it makes a missing file, mode 0600, complete
// or not at all; if another process makes the file at the same moment, it uses that one. Without create a missing file
// is an error: never make a new key for data that already has one.
//
// Errors: ErrMasterKey; those of the file system when a key cannot be written.
func MasterKey(env, path string, create bool) ([]byte, error) {
	if env != "" {
		key, err := decodeText([]byte(env))
		if err != nil {
			return nil, ErrMasterKey.With("TUTELA_MASTER_KEY is not a master key: it must be %d bytes in base64", KeyBytes)
		}
		return key, nil
	}
	// Read the file. A missing one may be made first.
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) && create {
		if err := makeMaster(path); err != nil {
			return nil, fmt.Errorf("make the master key: %w", err)
		}
		content, err = os.ReadFile(path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrMasterKey.With("the master key %s is missing, and the data cannot be read without it: "+
			"put it back, or give it by --master-key-file or TUTELA_MASTER_KEY", path)
	case err != nil:
		return nil, ErrMasterKey.With("read the master key: %v", err)
	}
	key, err := decodeMaster(content)
	if err != nil {
		return nil, ErrMasterKey.With("%s is not a master key: it must hold %d bytes, raw or in base64", path, KeyBytes)
	}
	return key, nil
}

func decodeMaster(content []byte) ([]byte, error) {
	if len(content) == KeyBytes {
		return content, nil
	}
	return decodeText(content)
}

// decodeText reads a master key written in base64, in either alphabet. It ignores white space, padding and a byte order
// mark.
//
// Errors: Invalid, when it is not KeyBytes bytes.
func decodeText(content []byte) ([]byte, error) {
	content = withoutMark(content)
	trimmed := make([]byte, 0, len(content))
	for _, b := range content {
		switch b {
		case ' ', '\n', '\r', '\t', '=':
		case '-':
			trimmed = append(trimmed, '+')
		case '_':
			trimmed = append(trimmed, '/')
		default:
			trimmed = append(trimmed, b)
		}
	}
	key, err := base64.RawStdEncoding.DecodeString(string(trimmed))
	if err != nil || len(key) != KeyBytes {
		return nil, storage.NewError(storage.Invalid, "no master key")
	}
	return key, nil
}

// withoutMark returns text without the byte order mark that some editors write. It converts UTF-16, which Windows
// PowerShell writes by ">" and which it recognises by its mark, to UTF-8.
func withoutMark(text []byte) []byte {
	order := binary.ByteOrder(binary.LittleEndian)
	switch {
	case bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		order = binary.BigEndian
	case !bytes.HasPrefix(text, []byte{0xff, 0xfe}):
		return bytes.TrimPrefix(text, []byte("\uFEFF"))
	}
	var units []uint16
	for at := 2; at+1 < len(text); at += 2 {
		units = append(units, order.Uint16(text[at:]))
	}
	return []byte(string(utf16.Decode(units)))
}

// makeMaster writes a new key. It writes and syncs a file beside path and then links it to path: unlike a rename, a
// link never replaces a key that another process has just made. Then it syncs the folder, so that the name is durable.
func makeMaster(path string) error {
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)                                                     // never fails: see crypto/rand
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
