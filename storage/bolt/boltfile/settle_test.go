package boltfile

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func TestSettle_LeavesTheFileAsItCanBeRead(t *testing.T) {
	path := scattered(t, 300, 100)
	before, err := os.ReadFile(path)
	must(t, err)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	must(t, Settle(f))
	must(t, f.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Equal(before, after) {
		t.Error("the file was changed")
	}
}

func TestSettle_RefusesWhatIsNoFileOfBbolt(t *testing.T) {
	path := scattered(t, 300, 100)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(make([]byte, 2*pageSize), 0)
	must(t, err)
	if err := Settle(f); !errors.Is(err, ErrForeign) {
		t.Errorf("settle: %v", err)
	}
	must(t, f.Close())
}
