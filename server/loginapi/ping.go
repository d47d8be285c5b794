package loginapi

import (
	"regexp"

	"tutela/device/login"
	"tutela/server/access"
)

const maxNotificationToken = 1024 // characters

// bearerToken is what can be sent as a bearer token. Source: RFC 6750 §2.1 (b64token).
var bearerToken = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// pingOf reads by which token a client that is pinged knows that we call. One that polls needs none, and its token is not kept.
//
// Source: CIBA Core 1.0 §7.1 (client_notification_token).
func pingOf(p params, client access.Client, req *login.Request) error {
	if client.DeliveryMode != access.DeliveryPing {
		return nil
	}
	token, err := p.required("client_notification_token", maxNotificationToken)
	if err != nil {
		return err
	}
	if !bearerToken.MatchString(token) {
		return badRequest("client_notification_token is not a bearer token: letters, digits, . _ ~ + / - and = at its end")
	}
	req.Ping = client.NotifyAt
	req.PingToken = token
	return nil
}
