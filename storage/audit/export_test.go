package audit

import "tutela/storage"

// What the tests of package audit_test need of the inside.
var (
	Seal         = seal
	OpeningOf    = openingOf
	EncodeDetail = encodeDetail
	DigestOf     = digestOf
)

const (
	MaxUserFolds  = maxUserFolds
	MaxHouseFolds = maxHouseFolds
	CloseBatch    = closeBatch
)

// LogKeyOf returns a user's log key, or storage.ErrNotFound.
func LogKeyOf(tx *storage.Tx, uid storage.UID) ([]byte, error) {
	key, err := logKeys.Get(tx, uid, "")
	if err != nil {
		return nil, err
	}
	return *key, nil
}

// Decode reads what is stored of an event, and returns it with what is wrong with it.
func Decode(uid storage.UID, id string, value []byte) (Event, string) {
	found := decode(uid, id, value)
	return found.Event, found.damage
}
