package access

import "tutela/storage/keyring"

// Kind is a kind of token: something that a caller shows as a proof.
type Kind struct {
	Name string // a word for it
	Typ  string // of the JWS; empty for an opaque kind: random characters, of which the store keeps a keyed hash
}

// The typ of each JWS that our signing keys make. That of ID tokens is the one that OpenID Connect libraries expect.
const (
	typID      = "JWT"
	typAccess  = "at+jwt" // RFC 9068 §2.1
	typReceipt = "tutela-receipt+jws"
	typResult  = "tutela-result+jwt"
	typSET     = "secevent+jwt" // RFC 8417 §2.3
)

// Kinds lists every kind of token. When you add a kind, add it here, and add a row to each test that offers every kind in
// place of every other. Kinds of the keyring need no entry.
var Kinds = append([]Kind{
	{Name: "id_token", Typ: typID},
	{Name: "access_token", Typ: typAccess},
	{Name: "management_token", Typ: typAccess}, // its audience and gty tell it from an access token
	{Name: "enrolment_token", Typ: typAccess},  // its audience and txid tell it from an access token
	{Name: "receipt", Typ: typReceipt},
	{Name: "result_token", Typ: typResult},
	{Name: "security_event_token", Typ: typSET},
	{Name: "client_secret"},
	{Name: "ticket"},
	{Name: "enrollment_tx_id"},
	{Name: "device_token"},
	{Name: "restore_token"},
	{Name: "restore_handle"},
	{Name: "auth_req_id"},
	{Name: "oob_code"},
	{Name: "remember_token"},
}, ringKinds()...)

// ringKinds are the kinds of the keyring, named by their typ.
func ringKinds() []Kind {
	kinds := make([]Kind, 0, len(keyring.Kinds))
	for _, kind := range keyring.Kinds {
		kinds = append(kinds, Kind{Name: string(kind), Typ: string(kind)})
	}
	return kinds
}
