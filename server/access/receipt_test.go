package access

import (
	"encoding/json"
	"strings"
	"testing"

	"tutela/recovery"
)

var _ recovery.Signer = (*Service)(nil).SignReceipt

func TestVerifyReceipt_ReturnsWhatWasSigned(t *testing.T) {
	h := newHouse(t)
	payload := []byte(`{"id":"rcp_1","removed":[]}`)
	receipt, err := h.SignReceipt(h.ctx(), payload)
	must(t, err)
	jwks, err := h.JWKS(h.ctx())
	must(t, err)
	got, err := VerifyReceipt(receipt, jwks)
	must(t, err)
	if string(got) != string(payload) {
		t.Errorf("payload %s", got)
	}
	header := headerOf(t, receipt)
	if header.Algorithm != "EdDSA" || header.ExtraHeaders["typ"] != "tutela-receipt+jws" || header.KeyID == "" {
		t.Errorf("header %+v", header)
	}
}

func TestVerifyReceipt_RefusesWhatDoesNotHold(t *testing.T) {
	h := newHouse(t)
	other := newHouse(t)
	receipt, err := h.SignReceipt(h.ctx(), []byte(`{"id":"rcp_1"}`))
	must(t, err)
	foreign, err := other.SignReceipt(h.ctx(), []byte(`{"id":"rcp_1"}`))
	must(t, err)
	k := h.keys.Load().signing(edDSA, h.store.Now())
	wrongTyp, err := k.sign(k.idHeader, []byte(`{"id":"rcp_1"}`))
	must(t, err)
	jwks, err := h.JWKS(h.ctx())
	must(t, err)
	parts := strings.Split(receipt, ".")
	var asJSON strings.Builder
	must(t, json.NewEncoder(&asJSON).Encode(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]}))
	for name, c := range map[string]struct{ jws, jwks string }{
		"changed":              {parts[0] + "." + segment(map[string]string{"id": "rcp_2"}) + "." + parts[2], string(jwks)},
		"no signature":         {parts[0] + "." + parts[1] + ".", string(jwks)},
		"another key set":      {foreign, string(jwks)},
		"another typ":          {wrongTyp, string(jwks)},
		"the JSON form":        {asJSON.String(), string(jwks)},
		"alg none":             {segment(map[string]string{"alg": "none", "kid": kidOf(t, receipt)}) + "." + parts[1] + ".", string(jwks)},
		"nothing":              {"", string(jwks)},
		"no key set":           {receipt, ""},
		"an empty key set":     {receipt, "{}"},
		"a key set of no keys": {receipt, `{"keys":[{}]}`},
		"null":                 {receipt, `{"keys":null}`},
		"no JSON":              {receipt, `keys`},
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := VerifyReceipt(c.jws, []byte(c.jwks))
			wantErr(t, err, ErrReceipt)
			if payload != nil {
				t.Errorf("payload %s", payload)
			}
		})
	}
}
