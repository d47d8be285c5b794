package storage_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"tutela/storage"
	"tutela/storage/storagetest/check"
)

// shape has what records are made of, and what implementations of JSON write in different ways.
type shape struct {
	Embedded
	Text     string            `json:"text"`
	Omitted  string            `json:"omitted,omitempty"`
	Number   int64             `json:"number,omitempty"`
	Wait     time.Duration     `json:"wait"`
	At       time.Time         `json:"at"`
	Never    time.Time         `json:"never,omitzero"`
	UID      storage.UID       `json:"uid"`
	Array    [4]byte           `json:"array"`
	Bytes    []byte            `json:"bytes"`
	NoBytes  []byte            `json:"no_bytes"`
	Texts    []string          `json:"texts"`
	NoTexts  []string          `json:"no_texts"`
	Map      map[string]int    `json:"map"`
	NoMap    map[string]string `json:"no_map"`
	Pointer  *shape            `json:"pointer,omitempty"`
	Raw      json.RawMessage   `json:"raw"`
	Untagged bool
}

// Embedded is a part of shape.
type Embedded struct {
	Inner float64 `json:"inner"`
}

var shapes = storage.Declare(storage.Spec[shape]{Name: "test_shapes", Class: storage.MFA})

// TestRecord_IsTheJSONOfTheStandardLibrary holds the store to encoding/json, by which version 0.1 wrote its rows: what one
// writes the other reads, and both write the same bytes. (What is not UTF-8, which no record may hold, both make U+FFFD: one as
// the character, the other as its escape.)
func TestRecord_IsTheJSONOfTheStandardLibrary(t *testing.T) {
	full := shape{
		Embedded: Embedded{Inner: 1e21},
		Text:     "<a href=\"x\"> & \u2028 \x00 \ufffd K",
		Number:   1<<53 + 1,
		Wait:     90 * time.Second,
		At:       time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		UID:      storage.NewUID(),
		Array:    [4]byte{1, 2, 3, 255},
		Bytes:    []byte{0, 254, 255},
		Texts:    []string{},
		Map:      map[string]int{"b": 2, "a": 1, "<": 3},
		Raw:      json.RawMessage(`{"a":[1,2]}`),
		Untagged: true,
	}
	full.Pointer = &shape{Text: "inside", Raw: json.RawMessage("null")}
	for name, record := range map[string]*shape{"full": &full, "empty": {Raw: json.RawMessage("null")}} {
		t.Run(name, func(t *testing.T) {
			standard, err := json.Marshal(record)
			check.Must(t, err)
			ours, err := shapes.Marshal(record)
			check.Must(t, err)
			if string(ours) != string(standard) {
				t.Errorf("written as\n%s\nby the standard library\n%s", ours, standard)
			}
			var want, got shape
			check.Must(t, json.Unmarshal(standard, &want))
			check.Must(t, shapes.Unmarshal(standard, &got))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("read as\n%+v\nby the standard library\n%+v", got, want)
			}
		})
	}
}

// TestRecord_ThatIsNoJSONIsDamaged reads what a disk may have made of a row.
func TestRecord_ThatIsNoJSONIsDamaged(t *testing.T) {
	for _, stored := range []string{"", "{", `{"text":1}`, `{"text":"a"} x`, `{"text":"a`, `{"bytes":"!"}`, "{\"text\":\"\x01\"}", `{"unknown":tru}`, "\x00"} {
		var standard, record shape
		if json.Unmarshal([]byte(stored), &standard) == nil {
			t.Fatalf("%q is fine by the standard library", stored)
		}
		if err := shapes.Unmarshal([]byte(stored), &record); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%q: %v", stored, err)
		}
	}
}
