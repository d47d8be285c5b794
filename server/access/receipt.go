package access

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"reflect"

	"github.com/go-jose/go-jose/v4"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/legible"
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
		return nil, ErrReceipt.With("this is not a receipt: it is not a compact JWS by EdDSA")
	}
	header := signed.Signatures[0].Protected
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); typ != typReceipt {
		return nil, ErrReceipt.With("this is not a receipt: what was signed is something else")
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

// CheckReceipt checks a receipt as it was printed, answered or downloaded, or its signature alone, and returns it as it was signed. Every
// other member of the file must equal the signed one, but residue, which changes later. It needs no server and no store.
//
// Errors: ErrReceipt, whose message says what is wrong.
func CheckReceipt(content, jwks []byte) (receipt recovery.Receipt, signed []byte, err error) {
	content = bytes.TrimSpace(content)
	var beside map[string]any
	signature := string(content)
	if len(content) > 0 && content[0] == '{' {
		if err := json.Unmarshal(content, &beside); err != nil {
			return receipt, nil, ErrReceipt.With("this is not a receipt: the JSON cannot be read")
		}
		signature, _ = beside["signature"].(string)
		if signature == "" {
			return receipt, nil, ErrReceipt.With("this receipt has no signature: that of a dry run proves nothing")
		}
	}
	if signed, err = VerifyReceipt(signature, jwks); err != nil {
		return receipt, nil, err
	}
	var members map[string]any
	if err := errors.Join(json.Unmarshal(signed, &receipt), json.Unmarshal(signed, &members)); err != nil {
		return receipt, nil, ErrReceipt.With("what was signed is not a receipt")
	}
	for name, value := range beside {
		if name != "signature" && name != "residue" && !reflect.DeepEqual(value, members[name]) {
			return receipt, nil, ErrReceipt.With("the file was changed: %s is not what was signed", legible.Quote(name))
		}
	}
	return receipt, signed, nil
}

// VerifyOwn checks a receipt of this installation against its own published keys.
//
// Errors: ErrReceipt; those of the store.
func (s *Service) VerifyOwn(ctx context.Context, r recovery.Receipt) error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	jwks, err := s.JWKS(ctx)
	if err != nil {
		return err
	}
	_, _, err = CheckReceipt(content, jwks)
	return err
}
