package backup

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
)

// Provider says who keeps the blob.
type Provider string

// The providers. We only track a platform's backup, which has an empty body here.
const (
	Server Provider = "server"
	ICloud Provider = "icloud"
	Google Provider = "google"
)

// Valid reports whether p is a provider of the protocol.
func (p Provider) Valid() bool { return p == Server || p == ICloud || p == Google }

// maxItems bounds the number of accounts that a phone may speak of, far above what a blob can hold.
const maxItems = 1 << 20

// manifest is what a phone signs about a version.
type manifest struct {
	Issuer           string   `json:"iss"` // the enrollment
	Generation       *int64   `json:"generation"`
	Parent           string   `json:"parent"` // hex SHA-256 of the manifest before, or empty
	Digest           string   `json:"digest"` // hex SHA-256 of the body
	Size             *int64   `json:"size"`   // bytes of the body
	Items            *int64   `json:"items"`  // accounts inside
	Provider         Provider `json:"provider"`
	AutomaticRestore bool     `json:"automatic_restore"`
	Shrink           bool     `json:"shrink"`
	Issued           *float64 `json:"iat"` // not used: a phone's clock is never trusted
	Opaque
}

// Opaque is what an app keeps in a manifest for itself. The server does not read it, and lists its members as they came.
type Opaque struct {
	Key   json.RawMessage `json:"key,omitempty"`   // which key encrypts the body
	Slots json.RawMessage `json:"slots,omitempty"` // the ways to that key
	Rekey json.RawMessage `json:"rekey,omitempty"` // that the key was changed
}

// MaxOpaqueBytes bounds an Opaque, and maxManifestBytes a manifest in its compact form, which holds one in base64.
const (
	MaxOpaqueBytes   = 8 << 10
	maxManifestBytes = 13 << 10
)

// accounts returns how many accounts are inside. An empty body that the server keeps has none, whatever the manifest claims.
func (m *manifest) accounts() int { return accountsIn(m.Provider, *m.Size, *m.Items) }

// Opaque returns what the app keeps for itself in the manifest.
func (v *Version) Opaque() Opaque {
	m, err := parseManifest(v.Manifest)
	if err != nil { // an earlier release accepted other manifests
		return Opaque{}
	}
	return m.Opaque
}

// accounts returns how many accounts are inside.
func (v *Version) accounts() int { return accountsIn(v.Provider, int64(v.Size), int64(v.Items)) }

func accountsIn(keptBy Provider, size, claimed int64) int {
	if keptBy == Server && size == 0 {
		return 0
	}
	return int(claimed)
}

// parseManifest reads the payload of a compact JWS and does not verify its signature.
//
// Errors: ErrInvalid.
func parseManifest(compact string) (*manifest, error) {
	parts := strings.Split(compact, ".")
	if len(compact) > maxManifestBytes || len(parts) != 3 {
		return nil, ErrInvalid.With("the manifest is not a compact JWS")
	}
	// The header must only be JSON: the key decides the algorithm.
	var header map[string]any
	var m manifest
	if !decodePart(parts[0], &header) || !decodePart(parts[1], &m) {
		return nil, ErrInvalid.With("the manifest does not parse")
	}
	if m.Generation == nil || m.Size == nil || m.Items == nil || m.Digest == "" || !m.Provider.Valid() {
		return nil, ErrInvalid.With("the manifest lacks generation, digest, size, items or a known provider")
	}
	if *m.Items < 0 || *m.Items > maxItems {
		return nil, ErrInvalid.With("the manifest's items must be 0 to %d", maxItems)
	}
	if len(m.Key)+len(m.Slots)+len(m.Rekey) > MaxOpaqueBytes {
		return nil, ErrInvalid.With("key, slots and rekey of the manifest have %d bytes together at most", MaxOpaqueBytes)
	}
	return &m, nil
}

func decodePart(encoded string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && json.Unmarshal(b, into) == nil
}

// digest returns the hex SHA-256 of a body or of a manifest's compact form.
func digest[T []byte | string](of T) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])
}
