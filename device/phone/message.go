package phone

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Message is what a push brings: an approval, or a notice, which asks nothing.
type Message struct {
	Approval *Approval
	Notice   *Notice
}

// Notice tells the phone what happened to its user. Kind is one of recovery's NoticeWords. RestoreID is the restore that
// the notice is about, if any, and Phone the name of the other phone. Text tells people the same.
type Notice struct {
	EnrollmentID string    `json:"dai"`
	Server       string    `json:"sh"`
	At           time.Time `json:"d"`
	Kind         string    `json:"notice"`
	RestoreID    string    `json:"rst,omitempty"`
	Phone        string    `json:"name,omitempty"`
	Text         string    `json:"text,omitempty"`
}

// Notices reads the notices to this phone after since, oldest first. When there are none it waits for one, at most wait
// (and 60 s). A phone whose enrollment was retired can still read its last notices for seven days.
//
// Its *Error is device_account_not_found when the enrollment was reset, or retired longer ago than that.
func (p *Phone) Notices(ctx context.Context, since time.Time, wait time.Duration) ([]Notice, error) {
	e, err := p.enrolled()
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if wait > 0 {
		query.Set("wait", strconv.Itoa(int(wait/time.Second)))
	}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	path := e.devicePath("/notices")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	response, err := p.deviceCall(ctx, Call{Method: http.MethodGet, Path: path, Wait: wait})
	if err != nil {
		return nil, err
	}
	var notices []Notice
	err = response.decode(&notices)
	return notices, err
}

// Messages reads the push messages for this phone from the folder where a development server puts them, in the order of
// their file names. It skips messages for other phones.
func (p *Phone) Messages(dir string) ([]Message, error) {
	e, err := p.enrolled()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("read push messages: %w", err)
	}
	var messages []Message
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read a push message: %w", err)
		}
		body := messageIn(data)
		var to struct {
			EnrollmentID string `json:"dai"`
		}
		if json.Unmarshal(body, &to) != nil || to.EnrollmentID != e.ID {
			continue
		}
		m, err := ParseMessage(body)
		if err != nil {
			return nil, fmt.Errorf("push message %s: %w", filepath.Base(name), err)
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// ParseMessage reads one push message, in the shape for Android or the one for iOS.
func ParseMessage(data []byte) (Message, error) {
	data = messageIn(data)
	var notice Notice
	if json.Unmarshal(data, &notice) == nil && notice.Kind != "" {
		return Message{Notice: &notice}, nil
	}
	var approval Approval
	if err := json.Unmarshal(data, &approval); err != nil {
		return Message{}, err
	}
	return Message{Approval: &approval}, nil
}

// messageIn finds the object that holds the message's keys: data itself, or an object inside it (iOS: under "mfa"). It
// returns nil when there is none.
func messageIn(data []byte) []byte {
	var members map[string]json.RawMessage
	if json.Unmarshal(data, &members) != nil {
		return nil
	}
	if _, ok := members["dai"]; ok {
		return data
	}
	for _, member := range members {
		if inner := messageIn(member); inner != nil {
			return inner
		}
	}
	return nil
}
