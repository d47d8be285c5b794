package device_test

import (
	"fmt"
	"testing"
	"time"

	"tutela/device/push"
	"tutela/recovery"
	"tutela/storage/outbox"
)

// What one app can bring about at a service that others use too. These answers are about its token, or may be.
func ofOneApp() map[string]push.Refusal {
	return map[string]push.Refusal{
		"FCM, for a token that is made up":              {Verdict: push.Mismatch, Status: 400, Reason: "INVALID_ARGUMENT"},
		"FCM, for an iPhone, without Apple's key":       {Verdict: push.Setup, Status: 401, Reason: "THIRD_PARTY_AUTH_ERROR"},
		"FCM, for a phone that is sent too much":        {Verdict: push.Busy, Status: 429, Reason: "QUOTA_EXCEEDED", After: time.Minute},
		"Web Push, made with another VAPID key":         {Verdict: push.Setup, Status: 403},
		"Web Push, made with another VAPID key, 401":    {Verdict: push.Setup, Status: 401},
		"Web Push, for a browser that is sent too much": {Verdict: push.Busy, Status: 429, After: time.Hour},
		"Web Push, ntfy's topic that nobody reads":      {Verdict: push.Busy, Status: 507},
	}
}

// addressOf returns an address at the service that a name begins with.
func addressOf(t *testing.T, name, token string) push.Address {
	t.Helper()
	if name[:3] == "FCM" {
		return push.Address{Service: push.FCM, Token: token}
	}
	to, err := push.ParseAddress("WEBPUSH", `{"endpoint":"https://push.example/`+token+`","keys":{`+
		`"p256dh":"BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4","auth":"BTBZMqHH6r4Tts7J_aSIgg"}}`)
	must(t, err)
	return to
}

func TestDeliver_WhatOneAppBringsAboutKeepsNobodyElseWaiting(t *testing.T) {
	for name, refusal := range ofOneApp() {
		t.Run(name, func(t *testing.T) {
			onEveryEngine(t, func(h *house) {
				enroll := func(user, identifier string) push.Address {
					p := h.newPhone(identifier)
					p.In.Push = addressOf(t, name, identifier)
					must(h.t, p.Enroll(h.ticket(user)))
					return p.In.Push
				}
				for i := range 12 {
					enroll("mallory", fmt.Sprint("hers-", i))
				}
				good := enroll("ada", "a")
				h.sent.Fail = func(to push.Address) error {
					if to != good {
						return &refusal
					}
					return nil
				}
				sender := h.sender(outbox.Options{})
				for range 3 {
					h.notify("mallory", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
					must(h.t, sender.Drain(h.t.Context()))
				}
				h.sent.Take()
				h.notify("ada", recovery.NoticePayload{Notice: recovery.NoticeCodeChanged})
				must(h.t, sender.Drain(h.t.Context()))
				if n := len(h.sent.Take()); n != 1 {
					h.t.Errorf("ada got %d messages", n)
				}
			})
		})
	}
}
