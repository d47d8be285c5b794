package backup

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"tutela/device"
)

// Provider is who keeps the blob.
type Provider string

// The providers. A platform's backup is tracked here and has an empty body.
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
	Issued           *float64 `json:"iat"` // a phone's clock is never trusted: it says nothing here
}

// parseManifest reads the payload of a compact JWS and does not verify its signature.
//
// Errors: ErrInvalid.
func parseManifest(compact string) (*manifest, error) {
	parts := strings.Split(compact, ".")
	if len(compact) > device.MaxTokenBytes || len(parts) != 3 {
		return nil, ErrInvalid.With("the manifest is no compact JWS")
	}
	// The header is only to be JSON: which algorithm counts, the key says.
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
	return &m, nil
}

func decodePart(encoded string, into any) bool {
	b, err := base64.RawURLEncoding.DecodeString(encoded)
	return err == nil && json.Unmarshal(b, into) == nil
}

// digest is the hex SHA-256 of a body or of a manifest's compact form.
func digest[T []byte | string](of T) string {
	sum := sha256.Sum256([]byte(of))
	return hex.EncodeToString(sum[:])
}
