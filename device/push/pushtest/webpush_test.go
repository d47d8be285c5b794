package pushtest_test

import (
	"crypto/ecdh"
	"encoding/base64"
	"testing"

	"tutela/device/push/pushtest"
)

// TestDecrypt_OpensTheExampleOfTheRFC is Appendix A of RFC 8291.
func TestDecrypt_OpensTheExampleOfTheRFC(t *testing.T) {
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	private, err := ecdh.P256().NewPrivateKey(decode("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	if err != nil {
		t.Fatal(err)
	}
	body := decode("DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_y" +
		"l95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	auth := decode("BTBZMqHH6r4Tts7J_aSIgg")
	text, err := pushtest.Decrypt(body, private, auth)
	if err != nil || string(text) != "When I grow up, I want to be a watermelon" {
		t.Errorf("%q, %v", text, err)
	}
	for i := range body {
		body[i] ^= 1
		if _, err := pushtest.Decrypt(body, private, auth); err == nil && i != 16 && i != 17 && i != 18 && i != 19 { // the record's size may be larger
			t.Errorf("a message with another byte %d opens", i)
		}
		body[i] ^= 1
	}
	for n := range body {
		if _, err := pushtest.Decrypt(body[:n], private, auth); err == nil {
			t.Errorf("%d bytes of the message open", n)
		}
	}
}
