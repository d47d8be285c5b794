package main

import (
	"cmp"
	"fmt"
	"net/netip"

	"tutela/device/push"
	"tutela/device/push/webpush"
)

// webPushFlags configure Web Push. It needs no credentials: the installation makes its own key.
type webPushFlags struct {
	PushContact string       `name:"push-contact" env:"TUTELA_PUSH_CONTACT" placeholder:"URI" help:"Whom Web Push services may turn to: mailto:… or https:…. Default: the public URL, if it is https."`
	PushAllow   []proxyRange `name:"push-allow" env:"TUTELA_PUSH_ALLOW" placeholder:"CIDR" help:"Address or address range that Web Push may call though it is not of the internet, also over http: of a UnifiedPush distributor inside; repeatable."`
}

// check refuses flags that cannot be right.
func (f webPushFlags) check() error {
	if f.PushContact == "" {
		return nil
	}
	if err := webpush.CheckContact(f.PushContact); err != nil {
		return usageError{err}
	}
	return nil
}

// addWebPush adds the carrier of Web Push. With --dev it may call this machine, where a phone of the developer's own waits for its
// messages.
func (c *serveCmd) addWebPush(keys *webpush.Keys, public string) {
	allow := prefixes(c.PushAllow)
	if c.Dev {
		allow = append(allow, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}
	contact := cmp.Or(c.PushContact, webpush.ContactOf(public))
	c.carriers.of[push.WebPush] = webpush.New(keys, webpush.Options{Contact: contact, Allow: allow})
	c.carriers.setUp[push.WebPush] = "contact " + contact
	if len(allow) > 0 {
		c.carriers.setUp[push.WebPush] += fmt.Sprintf(", beside the internet also %v", allow)
	}
}
