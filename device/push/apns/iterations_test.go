package apns_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/push/apns"
	"tutela/device/push/pushtest"
	"tutela/storage/storagetest/check"
)

// TestReadCertificate_BoundsTheIterationsThatAFileAsksFor changes the numbers in files that open. All take three bytes, so what stands
// around them stays.
func TestReadCertificate_BoundsTheIterationsThatAFileAsksFor(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	const few = 65_536
	for name, how := range map[string]*pkcs12.Encoder{
		"RC2":     pkcs12.LegacyRC2,
		"3DES":    pkcs12.LegacyDES,
		"AES-256": pkcs12.Modern2023,
		"PBMAC1":  pkcs12.Modern2026,
	} {
		t.Run(name, func(t *testing.T) {
			file := service.Certificate(how.WithIterations(few), "", pushtest.APNsTopic)
			_, err := apns.ReadCertificate(file, "")
			check.Must(t, err)
			parts := bytes.Split(file, integer(few))
			if len(parts) != 4 {
				t.Fatalf("the iterations stand at %d places, want those of the MAC, the certificates and the key", len(parts)-1)
			}
			for i := range len(parts) - 1 {
				expectTooMany(t, "one number", parts, func(place int) int {
					if place == i {
						return 1_000_001
					}
					return few
				})
				expectTooMany(t, "the sum", parts, func(place int) int {
					if place == i {
						return few
					}
					return 500_001
				})
			}
		})
	}
}

func expectTooMany(t *testing.T, what string, parts [][]byte, iterations func(place int) int) {
	t.Helper()
	file := bytes.Clone(parts[0])
	for place, part := range parts[1:] {
		file = append(file, integer(iterations(place))...)
		file = append(file, part...)
	}
	if _, err := apns.ReadCertificate(file, ""); !errors.Is(err, apns.ErrIterations) {
		t.Errorf("%s: %v", what, err)
	}
}

// integer returns an INTEGER of three bytes.
func integer(n int) []byte { return []byte{asn1.TagInteger, 3, byte(n >> 16), byte(n >> 8), byte(n)} }

// part is a part of a file, or all that is in it.
type part struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit"`
}

// TestReadCertificate_RefusesAKeyInsideOfWhatElseIsEncrypted shows that no key is opened whose iterations could not be seen.
func TestReadCertificate_RefusesAKeyInsideOfWhatElseIsEncrypted(t *testing.T) {
	service := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	var whole struct {
		Version int
		Safe    part
		MAC     asn1.RawValue
	}
	var safe, keys []byte
	var parts []part
	unpack(t, service.Certificate(pkcs12.Modern2023, "", pushtest.APNsTopic), &whole)
	unpack(t, whole.Safe.Content.Bytes, &safe)
	unpack(t, safe, &parts)
	_, err := apns.ReadCertificate(fileOf(t, parts...), "")
	check.Must(t, err)

	unpack(t, parts[1].Content.Bytes, &keys)
	hidden := encrypt(t, keys)
	for _, order := range [][]part{{parts[0], hidden}, {hidden, parts[0]}} {
		file := fileOf(t, order...)
		if _, _, _, err := pkcs12.DecodeChain(file, ""); err != nil {
			t.Fatalf("the decoder alone does not open it: %v", err)
		}
		if _, err := apns.ReadCertificate(file, ""); err == nil {
			t.Error("it was opened")
		}
	}
}

func unpack(t *testing.T, der []byte, to any) {
	t.Helper()
	_, err := asn1.Unmarshal(der, to)
	check.Must(t, err)
}

func pack(t *testing.T, what any) []byte {
	t.Helper()
	der, err := asn1.Marshal(what)
	check.Must(t, err)
	return der
}

func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: der}
}

var (
	oidData      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidEncrypted = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}
	oidPBES2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidAES128    = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 2}
)

// fileOf returns a PKCS#12 file without a MAC.
func fileOf(t *testing.T, parts ...part) []byte {
	t.Helper()
	return pack(t, struct {
		Version int
		Safe    part
	}{3, part{oidData, explicit(pack(t, pack(t, parts)))}})
}

// encrypt encrypts a part under the empty password.
func encrypt(t *testing.T, content []byte) part {
	t.Helper()
	salt := []byte("salt")
	iv := make([]byte, aes.BlockSize)
	key, err := pbkdf2.Key(sha1.New, "", salt, 1, 16)
	check.Must(t, err)
	block, err := aes.NewCipher(key)
	check.Must(t, err)
	padding := aes.BlockSize - len(content)%aes.BlockSize
	box := append(bytes.Clone(content), bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(box, box)

	type derivation struct {
		Salt       []byte
		Iterations int
	}
	type schemes struct{ Derivation, Encryption pkix.AlgorithmIdentifier }
	type inner struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   []byte `asn1:"tag:0"`
	}
	return part{oidEncrypted, explicit(pack(t, struct {
		Version int
		Content inner
	}{0, inner{
		Type: oidData,
		Algorithm: pkix.AlgorithmIdentifier{
			Algorithm: oidPBES2,
			Parameters: asn1.RawValue{FullBytes: pack(t, schemes{
				Derivation: pkix.AlgorithmIdentifier{
					Algorithm:  oidPBKDF2,
					Parameters: asn1.RawValue{FullBytes: pack(t, derivation{salt, 1})},
				},
				Encryption: pkix.AlgorithmIdentifier{
					Algorithm:  oidAES128,
					Parameters: asn1.RawValue{FullBytes: pack(t, iv)},
				},
			})},
		},
		Content: box,
	}}))}
}
