// Package push brings messages to phones. It only delivers: the packages that send a message decide what it says, and
// whether it is still to be sent.
package push

import (
	"encoding/json"
	"time"
)

// Message is the content of a message to a phone. Empty keys are left out.
//
// Source: guardian-wire.md §3; nm, pu, notice, rst, name and text are tutela's.
type Message struct {
	TransactionToken string    // txtkn
	Enrollment       string    // dai
	Challenge        string    // c
	Started          string    // d, as storage.FormatInstant writes it
	Server           string    // sh: a URL, since a host with a port and without a scheme throws in the Android SDK
	Source           *Source   // s
	Location         *Location // l
	ConsentID        string    // txlnkid
	NumberMatching   bool      // nm
	BindingMessage   string    // bm
	ClientName       string    // cn
	Purpose          string    // pu: "" of a login
	Notice           string    // notice
	Text             string    // text: of a notice, for an app that does not know the word
	Restore          string    // rst
	Phone            string    // name: of the other phone that a notice is about

	// Life is how long the push service keeps the message for a phone that it cannot reach now. It is not a part of the message.
	Life time.Duration
}

// Source is the browser and system of a login.
type Source struct {
	Browser Named `json:"b,omitzero"`
	System  Named `json:"os,omitzero"`
}

// Named is a name with a version; empty when not known.
type Named struct {
	Name    string `json:"n,omitempty"`
	Version string `json:"v,omitempty"`
}

// Location is where a login comes from.
type Location struct {
	Name string  `json:"n,omitempty"`
	Lat  float64 `json:"lat,omitempty"`
	Long float64 `json:"long,omitempty"`
}

// Object returns the message with nested objects, as APNs and a pulling app get it.
func (m Message) Object() map[string]any {
	o := make(map[string]any, 12)
	for key, value := range map[string]string{
		"txtkn": m.TransactionToken, "dai": m.Enrollment, "c": m.Challenge, "d": m.Started, "sh": m.Server,
		"txlnkid": m.ConsentID, "bm": m.BindingMessage, "cn": m.ClientName, "pu": m.Purpose, "notice": m.Notice, "rst": m.Restore, "name": m.Phone, "text": m.Text,
	} {
		if value != "" {
			o[key] = value
		}
	}
	if m.Source != nil {
		o["s"] = m.Source
	}
	if m.Location != nil {
		o["l"] = m.Location
	}
	if m.NumberMatching {
		o["nm"] = true
	}
	return o
}

// Strings returns the message as an FCM data message: every value a string, objects as JSON text.
func (m Message) Strings() (map[string]string, error) {
	flat := make(map[string]string, 12)
	for key, value := range m.Object() {
		if text, ok := value.(string); ok {
			flat[key] = text
			continue
		}
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		flat[key] = string(encoded)
	}
	return flat, nil
}
