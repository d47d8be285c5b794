package access

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"

	"github.com/go-jose/go-jose/v4"

	"tutela/storage"
)

// ErrReceipt reports a receipt whose signature does not verify.
var ErrReceipt = storage.NewError(storage.Denied, "the receipt is not signed by a key of this key set")

// SignReceipt signs a receipt: a compact JWS (RFC 7515) by EdDSA over payload, with a typ of its own and the kid. It is
// a recovery.Signer, which runs inside transactions: so it does not touch the store, and takes the newest key that this
// server knows. If another server has rotated the keys meanwhile, the old key still verifies: keys of receipts stay in the
// JWKS for ever.
func (s *Service) SignReceipt(_ context.Context, payload []byte) (jws string, err error) {
	k := s.keys.Load().signing(edDSA, s.store.Now())
	if k == nil {
		return "", errors.New("there is no signing key for receipts")
	}
	return k.sign(k.receiptHeader, payload)
}

// VerifyReceipt checks a receipt and returns its payload, the signed bytes. jwks is the key set of the installation that
// signed it, as published or as saved earlier. It needs no server and no store.
//
// Errors: ErrReceipt, whose message says what is wrong.
func VerifyReceipt(jws string, jwks []byte) (payload []byte, err error) {
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return nil, ErrReceipt.With("the key set is no JWKS")
	}
	signed, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{edDSA})
	if err != nil {
		return nil, ErrReceipt.With("this is no receipt: it is not a compact JWS by EdDSA")
	}
	header := signed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != typReceipt {
		return nil, ErrReceipt.With("this is no receipt: what was signed is something else")
	}
	for _, candidate := range set.Key(header.KeyID) {
		public, ok := candidate.Key.(ed25519.PublicKey)
		if !ok || candidate.Algorithm != string(edDSA) {
			continue
		}
		if payload, err := signed.Verify(public); err == nil {
			return payload, nil
		}
		return nil, ErrReceipt.With("the signature does not hold: the receipt was changed")
	}
	return nil, ErrReceipt.With("the key %q that signed the receipt is not in the key set", header.KeyID)
}
