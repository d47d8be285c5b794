package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tutela/storage"
)

// MasterKey finds the master key: env, when it is not empty (base64, either alphabet, padding optional), else the
// file at path (32 raw bytes, or base64 text). With create, a file that is missing is made: written, synced and
// renamed, mode 0600, so that a crash leaves a whole key or none. Without, a missing file is an error: a new key is
// never made for data that has one already.
func MasterKey(env, path string, create bool) ([]byte, error) {
	if env != "" {
		key, err := decodeMaster([]byte(env))
		if err != nil {
			return nil, ErrMasterKey.With("TUTELA_MASTER_KEY is no master key: it must be %d bytes in base64", KeyBytes)
		}
		return key, nil
	}
	content, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		return makeMaster(path)
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

func makeMaster(path string) ([]byte, error) {
	key := make([]byte, KeyBytes)
	_, _ = rand.Read(key)
	text := base64.StdEncoding.EncodeToString(key) + "\n"
	if err := writeWhole(path, []byte(text)); err != nil {
		return nil, fmt.Errorf("make the master key: %w", err)
	}
	return key, nil
}

// writeWhole writes a file so that it is there whole or not at all, whatever happens: a new file beside it is
// written and synced, then renamed, then the folder is synced, since a rename is only as durable as its folder.
func writeWhole(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
