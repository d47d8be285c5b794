package apns

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // a MAC that the decoder knows, over what we write ourselves
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"unicode/utf16"

	"software.sslmate.com/src/go-pkcs12"
)

// mostIterations bounds the iterations of all keys that are derived to open a file, together. Programs that make such files write 1 to
// 600 000, and whoever writes the file chooses the number: without a bound 100 bytes would keep a processor busy for weeks.
const mostIterations = 1_000_000

// ErrIterations reports a PKCS#12 file whose iterations are beyond mostIterations.
var ErrIterations = errors.New("the PKCS#12 file takes too many iterations to open: write it with at most 300000 for each key")

// The structures of a PKCS#12 file, as far as iterations stand in them. The decoder reads the same ones.
//
// Source: RFC 7292 §4; RFC 8018 appendix A.
type (
	pfx struct {
		Version  int
		AuthSafe content
		MAC      mac `asn1:"optional"`
	}
	content struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	mac struct {
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	encrypted struct {
		Version int
		Content struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   []byte `asn1:"tag:0,optional"`
		}
	}
	bag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue `asn1:"tag:0,explicit"`
		Attributes asn1.RawValue `asn1:"set,optional"`
	}
	shroudedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       []byte
	}
	schemes struct { // of PBES2 and of PBMAC1
		Derivation pkix.AlgorithmIdentifier
		Use        pkix.AlgorithmIdentifier
	}
	derivation struct { // by PBKDF2
		Salt       asn1.RawValue
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	oldDerivation struct { // by PKCS#12 itself
		Salt       []byte
		Iterations int
	}
)

var (
	oidData        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidKey         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedKey = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidPBES2       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBMAC1      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 14}
	oidSHA1        = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
)

// checkIterations returns an error unless a PKCS#12 file can be opened with at most mostIterations. A file that it cannot read, and one
// whose key lies inside of what else is encrypted, where its iterations show too late, is refused as well: no program writes such.
func checkIterations(file []byte, password string) error {
	var p pfx
	if _, err := asn1.Unmarshal(file, &p); err != nil {
		return err
	}
	var safe []byte
	if _, err := asn1.Unmarshal(p.AuthSafe.Content.Bytes, &safe); err != nil {
		return err
	}
	var parts []content
	if _, err := asn1.Unmarshal(safe, &parts); err != nil {
		return err
	}
	var sum total
	if len(p.MAC.Digest.Algorithm.Algorithm) > 0 {
		sum.add(p.MAC.Iterations, nil)
		if p.MAC.Digest.Algorithm.Algorithm.Equal(oidPBMAC1) {
			sum.add(iterationsOf(p.MAC.Digest.Algorithm))
		}
	}
	for _, part := range parts {
		sum.part(part)
	}
	if sum.err != nil {
		return sum.err
	}
	for _, part := range parts {
		if part.Type.Equal(oidEncrypted) {
			if err := checkHoldsNoKey(part, password); err != nil {
				return err
			}
		}
	}
	return nil
}

// total adds iterations up.
type total struct {
	iterations int
	err        error
}

func (t *total) add(iterations int, err error) {
	switch {
	case t.err != nil:
	case err != nil:
		t.err = err
	case iterations < 0 || iterations > mostIterations-t.iterations:
		t.err = ErrIterations
	default:
		t.iterations += iterations
	}
}

// part adds the iterations of a part of the file that can be seen without its password.
func (t *total) part(p content) {
	if p.Type.Equal(oidEncrypted) {
		var e encrypted
		if _, err := asn1.Unmarshal(p.Content.Bytes, &e); err != nil {
			t.add(0, err)
			return
		}
		t.add(iterationsOf(e.Content.Algorithm))
		return
	}
	var data []byte
	var bags []bag
	_, err := asn1.Unmarshal(p.Content.Bytes, &data)
	if err == nil {
		_, err = asn1.Unmarshal(data, &bags)
	}
	t.add(0, err)
	for _, b := range bags {
		if b.ID.Equal(oidShroudedKey) {
			var k shroudedKey
			_, err := asn1.Unmarshal(b.Value.Bytes, &k)
			t.add(0, err)
			t.add(iterationsOf(k.Algorithm))
		}
	}
}

// iterationsOf returns the iterations of an algorithm that encrypts, or of PBMAC1.
func iterationsOf(a pkix.AlgorithmIdentifier) (int, error) {
	if !a.Algorithm.Equal(oidPBES2) && !a.Algorithm.Equal(oidPBMAC1) {
		var d oldDerivation
		_, err := asn1.Unmarshal(a.Parameters.FullBytes, &d)
		return d.Iterations, err
	}
	var s schemes
	if _, err := asn1.Unmarshal(a.Parameters.FullBytes, &s); err != nil {
		return 0, err
	}
	var d derivation
	_, err := asn1.Unmarshal(s.Derivation.Parameters.FullBytes, &d)
	return d.Iterations, err
}

// checkHoldsNoKey has the decoder open an encrypted part next to a key of ours. It takes one key, and refuses a second before it opens
// it: so a key in there is never opened. What does not open at all holds nothing that the decoder would come to.
func checkHoldsNoKey(part content, password string) error {
	text := make([]byte, 0, 2*len(password)+2)
	for _, unit := range utf16.Encode([]rune(password)) {
		text = append(text, byte(unit>>8), byte(unit))
	}
	forms := [][]byte{append(text, 0, 0)}
	if password == "" {
		forms = append(forms, nil) // as some programs write no password
	}
	for _, form := range forms {
		file, err := besideOurKey(part, form)
		if err != nil {
			return err
		}
		_, _, _, err = pkcs12.DecodeChain(file, password)
		var syntax asn1.SyntaxError
		var structure asn1.StructuralError
		switch {
		case err == nil, errors.Is(err, pkcs12.ErrDecryption):
		case errors.As(err, &syntax), errors.As(err, &structure):
		default:
			return err
		}
	}
	return nil
}

// besideOurKey returns a file with a part and a key that opens nothing, under a password in one of its forms.
func besideOurKey(part content, password []byte) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, err
	}
	type keyBag struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	bags, err := asn1.Marshal([]keyBag{{oidKey, explicit(key)}})
	if err != nil {
		return nil, err
	}
	ours, err := dataOf(bags)
	if err != nil {
		return nil, err
	}
	safe, err := asn1.Marshal([]content{ours, part})
	if err != nil {
		return nil, err
	}
	p := pfx{Version: 3}
	if p.AuthSafe, err = dataOf(safe); err != nil {
		return nil, err
	}
	p.MAC.Salt = make([]byte, 8)
	p.MAC.Iterations = 1
	p.MAC.Digest.Algorithm.Algorithm = oidSHA1
	p.MAC.Digest.Algorithm.Parameters = asn1.NullRawValue
	p.MAC.Digest.Digest = macOf(safe, password, p.MAC.Salt)
	return asn1.Marshal(p)
}

func dataOf(b []byte) (content, error) {
	octets, err := asn1.Marshal(b)
	return content{Type: oidData, Content: explicit(octets)}, err
}

func explicit(b []byte) asn1.RawValue {
	return asn1.RawValue{
		Class:      asn1.ClassContextSpecific,
		Tag:        0,
		IsCompound: true,
		Bytes:      b,
	}
}

// macOf returns the MAC of a file whose key is derived in one iteration.
//
// Source: RFC 7292 appendix B.
func macOf(safe, password, salt []byte) []byte {
	const block = sha1.BlockSize
	filled := func(b []byte) []byte {
		if len(b) == 0 {
			return nil
		}
		size := (len(b) + block - 1) / block * block
		return bytes.Repeat(b, size/len(b)+1)[:size]
	}
	const purpose = 3 // a key for a MAC
	derived := bytes.Repeat([]byte{purpose}, block)
	derived = append(derived, filled(salt)...)
	derived = append(derived, filled(password)...)
	key := sha1.Sum(derived) //nolint:gosec // see the import
	h := hmac.New(sha1.New, key[:])
	h.Write(safe)
	return h.Sum(nil)
}
