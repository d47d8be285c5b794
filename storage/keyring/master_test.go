package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode/utf16"

	"tutela/storage/keyring"
)

// awkward has, in base64, characters of which the two alphabets have others, and padding.
var awkward = bytes.Repeat([]byte{0xfb, 0xff}, 16)

// utf16Text encodes text as some editors of Windows do, with a byte order mark.
func utf16Text(order binary.ByteOrder, text string) string {
	encoded := make([]byte, 2*(len(text)+1))
	for i, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		order.PutUint16(encoded[2*i:], unit)
	}
	return string(encoded)
}

func TestMasterKey_IsReadInEveryForm(t *testing.T) {
	forms := map[string]string{
		"standard":               base64.StdEncoding.EncodeToString(awkward),
		"standard, no padding":   base64.RawStdEncoding.EncodeToString(awkward),
		"url":                    base64.URLEncoding.EncodeToString(awkward),
		"url, no padding":        base64.RawURLEncoding.EncodeToString(awkward),
		"with a byte order mark": "\uFEFF" + base64.StdEncoding.EncodeToString(awkward) + "\r\n",
		"UTF-16, little endian":  utf16Text(binary.LittleEndian, base64.StdEncoding.EncodeToString(awkward)+"\r\n"),
		"UTF-16, big endian":     utf16Text(binary.BigEndian, base64.StdEncoding.EncodeToString(awkward)+"\r\n"),
		"with line ends":         " " + base64.StdEncoding.EncodeToString(awkward)[:20] + "\r\n" + base64.StdEncoding.EncodeToString(awkward)[20:] + "\n",
	}
	path := filepath.Join(t.TempDir(), "master.key")
	for name, text := range forms {
		key, err := keyring.MasterKey(text, "/does/not/exist", false)
		if err != nil || !bytes.Equal(key, awkward) {
			t.Errorf("%s, environment: %x, %v", name, key, err)
		}
		must(t, os.WriteFile(path, []byte(text), 0o600))
		key, err = keyring.MasterKey("", path, false)
		if err != nil || !bytes.Equal(key, awkward) {
			t.Errorf("%s, file: %x, %v", name, key, err)
		}
	}
	must(t, os.WriteFile(path, awkward, 0o600))
	key, err := keyring.MasterKey("", path, false)
	if err != nil || !bytes.Equal(key, awkward) {
		t.Errorf("raw file: %x, %v", key, err)
	}
}

func TestMasterKey_OfAnotherFormIsRefusedWithoutShowingIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	for name, text := range map[string]string{
		"too short": base64.StdEncoding.EncodeToString(awkward[:31]), "too long": base64.StdEncoding.EncodeToString(append(awkward, 1)),
		"hex": hex.EncodeToString(awkward), "words": "correct horse battery staple", "a space": " ",
	} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		_, envErr := keyring.MasterKey(text, path, true)
		_, fileErr := keyring.MasterKey("", path, true)
		for _, err := range []error{envErr, fileErr} {
			if !errors.Is(err, keyring.ErrMasterKey) || len(text) > 1 && strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// 32 characters are a raw key in a file; in the environment, where nobody can write raw bytes, they are a mistake.
	if _, err := keyring.MasterKey(strings.Repeat("p", 32), path, false); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("a password in the environment: %v", err)
	}
}

func TestMasterKey_AMissingFileIsMadeForNewDataOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	_, err := keyring.MasterKey("", path, false)
	if !errors.Is(err, keyring.ErrMasterKey) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a key was made for old data")
	}
	key, err := keyring.MasterKey("", path, true)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 || len(key) != keyring.KeyBytes {
		t.Errorf("mode %v, %d bytes", info.Mode(), len(key))
	}
	again, err := keyring.MasterKey("", path, true)
	must(t, err)
	if !bytes.Equal(key, again) {
		t.Error("the key was made anew")
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("left in the folder: %v", entries)
	}
}

// Two processes that start on the same empty folder must not end with data under a key that the other's replaced.
func TestMasterKey_OfManyAtOnceIsOne(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "master.key")
		keys := make([][]byte, 16)
		var all sync.WaitGroup
		for i := range keys {
			all.Go(func() {
				key, err := keyring.MasterKey("", path, true)
				if err != nil {
					t.Error(err)
				}
				keys[i] = key
			})
		}
		all.Wait()
		for _, key := range keys {
			if !bytes.Equal(key, keys[0]) {
				t.Fatal("they have different keys")
			}
		}
	}
}

func TestMasterKey_ThatCannotBeReadOrMadeIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := keyring.MasterKey("", dir, true); !errors.Is(err, keyring.ErrMasterKey) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := keyring.MasterKey("", filepath.Join(dir, "none", "master.key"), true); err == nil || !strings.Contains(err.Error(), "make the master key") {
		t.Errorf("no folder: %v", err)
	}
}
