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

// MasterKey finds the master key: env, when it is not empty (base64, either alphabet, padding optional), else the
// file at path (32 raw bytes, or base64 text). With create, a file that is missing is made, mode 0600, whole or not at
// all; one that another process makes at the same moment is used. Without, a missing file is an error: a new key is
// never made for data that has one already.
//
// Errors: ErrMasterKey; those of the file system when a key cannot be written.
func MasterKey(env, path string, create bool) ([]byte, error) {
	if env != "" {
		key, err := decodeText([]byte(env))
		if err != nil {
			return nil, ErrMasterKey.With("TUTELA_MASTER_KEY is no master key: it must be %d bytes in base64", KeyBytes)
		}
		return key, nil
	}
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
		return nil, ErrMasterKey.With("%s is no master key: it must hold %d bytes, raw or in base64", path, KeyBytes)
	}
	return key, nil
}

func decodeMaster(content []byte) ([]byte, error) {
	if len(content) == KeyBytes {
		return content, nil
	}
	return decodeText(content)
}

// decodeText reads a master key written in base64, in either alphabet. White space, padding and a byte order mark do not
// count.
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

// withoutMark returns text without its byte order mark, which some editors put before it. Text in UTF-16, which Windows
// PowerShell writes by ">", becomes UTF-8; it is known by its mark.
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

// makeMaster writes a new key. A file beside path is written and synced and then linked there, which never replaces
// a key that came in between; then the folder is synced, since a name is only as durable as its folder.
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
