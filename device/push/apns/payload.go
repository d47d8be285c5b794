package apns

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"tutela/device/push"
)

// maxPayloadBytes bounds a payload.
//
// Source: Apple, "Generating a remote notification": 4 KB.
const maxPayloadBytes = 4096

// category tells the Guardian SDK that a message is an approval. It also chooses the buttons that the app shows with it.
//
// Source: guardian-wire.md §3.2.
const category = "com.auth0.notification.authentication"

// payload is what the phone gets: what the system shows, and what the app reads.
type payload struct {
	APS aps            `json:"aps"`
	MFA map[string]any `json:"mfa"`
}

// aps is what the system reads. An app can put other words in the place of the alert's, by an extension of the kind that
// mutable-content wakes.
type aps struct {
	Category string `json:"category,omitempty"`
	Alert    alert  `json:"alert"`
	Sound    string `json:"sound"`
	Mutable  int    `json:"mutable-content"`
}

type alert struct {
	Title string `json:"title,omitempty"`
	Body  string `json:"body"`
}

// payloadOf returns the payload of a message. A notice has no category: it asks nothing.
func payloadOf(m push.Message) ([]byte, error) {
	encoded, err := encode(m)
	if err != nil || len(encoded) <= maxPayloadBytes {
		return encoded, err
	}
	return encode(m.Fit(func(m push.Message) bool {
		encoded, err := encode(m)
		return err != nil || len(encoded) <= maxPayloadBytes
	}))
}

func encode(m push.Message) ([]byte, error) {
	p := payload{MFA: m.Object(), APS: aps{Sound: "default", Mutable: 1}}
	if m.Notice != "" {
		p.APS.Alert.Body = m.Text
	} else {
		p.APS.Category = category
		p.APS.Alert = question(m)
	}
	return json.Marshal(p)
}

// The purposes of messages that ask something else than a login.
//
// Source: app-api.md "Answer an approval".
const (
	callerCheck = "caller_check" // whether the person rings the help desk
	addDevice   = "add_device"   // whether the person adds a phone
)

// question is what a locked phone shows of an approval: who asks, and nothing of what for.
func question(m push.Message) alert {
	title := m.ClientName
	switch {
	case m.Purpose == callerCheck:
		return alert{
			Title: cmp.Or(title, "Help desk"),
			Body:  "Have you rung the help desk? Open the app to answer: this may let somebody reset your login.",
		}
	case m.Purpose == addDevice:
		return alert{
			Title: cmp.Or(title, "New phone"),
			Body:  "Is it you who adds a phone to your account? Open the app to answer.",
		}
	case m.Purpose != "":
		return alert{Title: title, Body: "You are asked for something. Open the app to answer."}
	case title == "":
		title = "Login"
	}
	return alert{Title: title, Body: "Is it you who is logging in? Open the app to answer."}
}

// maxCollapseBytes bounds the header apns-collapse-id.
const maxCollapseBytes = 64

// collapseID returns an id that is the same for copies of one message and differs between messages: the phone shows
// only the newest copy.
func collapseID(m push.Message) string {
	name := m.Challenge + m.Enrollment
	if m.Notice != "" {
		name = m.Notice + m.Started + m.Restore + m.Enrollment
	}
	if len(name) <= maxCollapseBytes && isPlain(name) {
		return name
	}
	hash := sha256.Sum256([]byte(name))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// isPlain reports whether a text can stand in a header field as it is.
func isPlain(text string) bool {
	for _, r := range text {
		if r <= ' ' || r > '~' {
			return false
		}
	}
	return true
}
