package webpush

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"sync"
	"testing"

	"tutela/storage/storagetest/check"
	"tutela/storage/storagetest/ground"
)

func TestKeys_AreMadeOnceAndKept(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		g := ground.Open(t, o)
		first, err := OpenKeys(t.Context(), g.Store)
		check.Must(t, err)
		point, err := base64.RawURLEncoding.DecodeString(first.Public())
		if err != nil || len(point) != 65 || point[0] != 4 {
			t.Errorf("the public key is %q", first.Public())
		}
		g.Reopen(0)
		again, err := OpenKeys(t.Context(), g.Store)
		check.Must(t, err)
		if *again != *first {
			t.Error("a restart makes another key")
		}
	})
}

func TestKeys_ServersThatStartAtOnceAgree(t *testing.T) {
	ground.OnEveryEngine(t, func(t *testing.T, o ground.Options) {
		g := ground.Open(t, o)
		const servers = 8
		opened := make([]*Keys, servers)
		var all sync.WaitGroup
		for i := range servers {
			all.Go(func() {
				var err error
				if opened[i], err = OpenKeys(t.Context(), g.Store); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, k := range opened[1:] {
			if k == nil || *k != *opened[0] {
				t.Fatal("two servers send as two")
			}
		}
	})
}

func TestKeys_ArePrivateInTheFileAndTheSameAfterARotation(t *testing.T) {
	ground.NeedsFile(t)
	g := ground.Open(t, ground.Options{})
	keys, err := OpenKeys(t.Context(), g.Store)
	check.Must(t, err)
	sealed := sealedKey(t, g)
	_, err = g.Ring.Rotate(t.Context())
	check.Must(t, err)
	_, err = g.Store.Reseal(t.Context())
	check.Must(t, err)
	if bytes.Equal(sealedKey(t, g), sealed) {
		t.Error("the private key is sealed as before")
	}
	again, err := OpenKeys(t.Context(), g.Store)
	check.Must(t, err)
	if *again != *keys {
		t.Error("a rotation of the ring changes the key, and every subscription is lost")
	}
	private, err := base64.RawURLEncoding.DecodeString(keys.private)
	check.Must(t, err)
	content, err := os.ReadFile(g.Path)
	check.Must(t, err)
	for name, form := range map[string][]byte{
		"as bytes": private, "as base64": []byte(base64.StdEncoding.EncodeToString(private)), "as base64url": []byte(keys.private),
	} {
		if bytes.Contains(content, form) {
			t.Errorf("the file holds the private key %s", name)
		}
	}
}

// sealedKey is the row of the key as the file has it.
func sealedKey(t *testing.T, g *ground.Ground) []byte {
	t.Helper()
	var raw []byte
	g.Scan(func(key, value string) {
		if strings.HasPrefix(key, "u") && strings.Contains(key, "web_push_key") {
			raw = []byte(value)
		}
	})
	if raw == nil {
		t.Fatal("there is no row of the key")
	}
	return raw
}
