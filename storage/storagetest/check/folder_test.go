package check_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

func TestShortFolder_HasRoomForASocketBelowALongTMPDIR(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	check.Must(t, os.Mkdir(long, 0o700))
	t.Setenv("TMPDIR", long)
	if socket := filepath.Join(check.ShortFolder(t), "my data", "admin.sock"); len(socket) > 107 {
		t.Errorf("%s has %d bytes", socket, len(socket))
	}
}
