package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStream_IsMadeShownChangedAndRemoved(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		client, _ := decode(t, c.run("client", "add", "bank", "--scope", "ssf.manage"))["client_id"].(string)
		other, _ := decode(t, c.run("client", "add", "shop", "--scope", "openid"))["client_id"].(string)
		c.try("stream", "add", other).refused("ssf.manage or ssf.read")
		c.try("stream", "add", client, "--authorization-header", "Bearer mine").notUnderstood("--authorization-header is of a push")
		c.try("stream", "add", client, "--push", "ftp://bank.example/").notUnderstood("https://")
		polled := decode(t, c.run("stream", "add", client, "--event", "urn:tutela:params:secevent:mfa-reset"))
		if polled["method"] != "urn:ietf:rfc:8936" || polled["client_id"] != client || polled["status"] != "enabled" {
			t.Errorf("made %v", polled)
		}
		pushed := decode(t, c.run("stream", "add", client, "--push", "https://bank.example/signals", "--authorization-header", "Bearer mine", "--description", "all of it"))
		id, _ := pushed["stream_id"].(string)
		listed := c.run("stream", "list")
		if !strings.Contains(listed, "push https://bank.example/signals") || !strings.Contains(listed, "poll") || strings.Contains(listed, "Bearer") {
			t.Errorf("listed:\n%s", listed)
		}
		var all []map[string]any
		must(t, json.Unmarshal([]byte(c.run("stream", "list", "--json")), &all))
		if len(all) != 2 {
			t.Errorf("listed %v", all)
		}
		c.try("stream", "change", id, "--poll", "--push", "https://bank.example/").notUnderstood("give --push or --poll, and not both")
		c.run("stream", "change", id, "--status", "disabled", "--reason", "no more")
		if shown := decode(t, c.run("stream", "show", id)); shown["status"] != "disabled" || shown["reason"] != "no more" || shown["description"] != "all of it" {
			t.Errorf("shown %v", shown)
		}
		c.try("stream", "verify", id).notUnderstood("the stream is disabled")
		c.run("stream", "change", id, "--poll", "--status", "enabled")
		if shown := decode(t, c.run("stream", "show", id)); shown["method"] != "urn:ietf:rfc:8936" || shown["endpoint_url"] != nil {
			t.Errorf("it polls, and keeps where it was pushed: %v", shown)
		}
		c.run("stream", "verify", id)
		c.run("stream", "remove", id)
		for _, command := range []string{"show", "change", "verify", "remove"} {
			c.try("stream", command, id).refused(`there is no stream with the id "` + id + `": see tutela stream list`)
		}
	})
}
