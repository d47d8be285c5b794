package fcm_test

import (
	"os/exec"
	"strings"
	"testing"

	"tutela/storage/storagetest/check"
)

// TestLinks_OnlyMessagingOfGooglesSDK holds what the server needs at rest: with the SDK's root package, which links Firestore
// and Storage, it is 13 MiB more.
func TestLinks_OnlyMessagingOfGooglesSDK(t *testing.T) {
	listed, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "tutela/cmd/tutela").Output()
	check.Must(t, err)
	ofSDK := 0
	for pkg := range strings.Lines(string(listed)) {
		pkg = strings.TrimSpace(pkg)
		for _, heavy := range []string{"cloud.google.com/go/firestore", "cloud.google.com/go/storage", "cloud.google.com/go/longrunning"} {
			if strings.HasPrefix(pkg, heavy) {
				t.Errorf("%s is linked", pkg)
			}
		}
		if below, ok := strings.CutPrefix(pkg, "firebase.google.com/go/v4"); ok {
			ofSDK++
			if below != "/messaging" && below != "/internal" {
				t.Errorf("%s is linked", pkg)
			}
		}
	}
	if ofSDK != 2 {
		t.Errorf("%d packages of the SDK are linked", ofSDK)
	}
}
