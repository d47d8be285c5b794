package boltfile

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

func TestScan_ShowsWhatBboltShows(t *testing.T) {
	for _, rows := range []int{1, 5, 300, 20000} {
		path := scattered(t, rows, rows/2)
		data, err := os.ReadFile(path)
		must(t, err)
		s, err := Newest(bytes.NewReader(data), int64(len(data)))
		must(t, err)
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
		must(t, err)
		must(t, db.View(func(tx *bbolt.Tx) error {
			for _, from := range []string{"", "a", "row", "row000001", fmt.Sprintf("row%06dx", rows/2), "z"} {
				c := tx.Bucket([]byte(Bucket)).Cursor()
				wantKey, wantValue := c.Seek([]byte(from))
				must(t, s.Scan(t.Context(), []byte(from), func(key, value []byte) bool {
					if !bytes.Equal(key, wantKey) || !bytes.Equal(value, wantValue) {
						t.Fatalf("%d rows from %q: %q; want %q", rows, from, key, wantKey)
					}
					wantKey, wantValue = c.Next()
					return true
				}))
				if wantKey != nil {
					t.Errorf("%d rows from %q: ends before %q", rows, from, wantKey)
				}
			}
			return nil
		}))
		must(t, db.Close())
	}
}

func TestScan_EndsWhenToldTo(t *testing.T) {
	data := makeFile(t, 300)
	s, err := Newest(bytes.NewReader(data), int64(len(data)))
	must(t, err)
	seen := 0
	must(t, s.Scan(t.Context(), nil, func(_, _ []byte) bool {
		seen++
		return seen < 10
	}))
	if seen != 10 {
		t.Errorf("%d entries", seen)
	}
}
