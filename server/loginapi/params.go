package loginapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/server/access"
)

// The bounds of parameters, in bytes.
const (
	maxShortBytes = 512
	maxLongBytes  = 4096
)

// params are the parameters of a call: strings of a form, or members of a JSON object.
type params map[string]json.RawMessage

// badRequest is the error of a parameter that is missing or malformed.
func badRequest(message string) error {
	return &server.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Message: message}
}

// read reads a call's parameters and authenticates its client. A call that comes to nothing here counts against the
// caller's address.
func (a *API) read(c *fiber.Ctx) (params, access.Client, error) {
	p, err := parse(c)
	var client access.Client
	if err == nil {
		client, err = a.authenticate(c, p)
	}
	if refused := (*server.Problem)(nil); errors.As(err, &refused) {
		if limited := a.limit.Charge(server.CallOf(c.UserContext())); limited != nil {
			err = limited
		}
	}
	return p, client, err
}

// parse reads a JSON object or a form. A call without a Content-Type is taken by its first character.
func parse(c *fiber.Ctx) (params, error) {
	body := bytes.TrimSpace(c.Body())
	if !utf8.Valid(body) { // decoding JSON would let all that is invalid become the same character
		return nil, badRequest("the body is no UTF-8")
	}
	kind, _, _ := strings.Cut(strings.ToLower(c.Get(fiber.HeaderContentType)), ";")
	switch strings.TrimSpace(kind) {
	case fiber.MIMEApplicationJSON:
		return parseJSON(body)
	case fiber.MIMEApplicationForm:
		return parseForm(body)
	case "":
		if len(body) > 0 && body[0] == '{' {
			return parseJSON(body)
		}
		return parseForm(body)
	default:
		return nil, badRequest("the body must be application/x-www-form-urlencoded or application/json")
	}
}

// parseJSON reads an object's members; one with the value null counts as left out.
func parseJSON(body []byte) (params, error) {
	var p params
	err := server.Unmarshal(body, &p)
	switch {
	case errors.Is(err, server.ErrMemberTwice):
		return nil, badRequest(twice)
	case err != nil || p == nil:
		return nil, badRequest("the body is no JSON object")
	}
	maps.DeleteFunc(p, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return p, nil
}

// twice is said of a parameter that comes twice, which none may (RFC 6749 §3.2).
const twice = "a parameter is there twice"

// parseForm reads a form, in which an empty parameter counts as left out.
func parseForm(body []byte) (params, error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, badRequest("the form does not parse")
	}
	p := make(params, len(values))
	for name, list := range values {
		if len(list) > 1 {
			return nil, badRequest(twice)
		}
		if list[0] == "" {
			continue
		}
		if !utf8.ValidString(list[0]) {
			return nil, badRequest("a parameter is no UTF-8")
		}
		if p[name], err = json.Marshal(list[0]); err != nil {
			return nil, badRequest("the form does not parse")
		}
	}
	return p, nil
}

// text returns a parameter as text of at most limit bytes; "" when it is not there.
func (p params) text(name string, limit int) (string, error) {
	raw, ok := p[name]
	if !ok {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", badRequest(name + " is no text")
	}
	if len(s) > limit {
		return "", badRequest(name + " is longer than " + strconv.Itoa(limit) + " bytes")
	}
	return s, nil
}

// required is text for a parameter that must be there.
func (p params) required(name string, limit int) (string, error) {
	s, err := p.text(name, limit)
	if err == nil && s == "" {
		err = badRequest(name + " is missing")
	}
	return s, err
}

// number returns a whole number from low to high, given as a number or as digits; fallback when it is not there.
func (p params) number(name string, fallback, low, high int) (int, error) {
	raw, ok := p[name]
	if !ok {
		return fallback, nil
	}
	digits := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		digits = s
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil || int(n) < low || int(n) > high {
		return 0, badRequest(name + " is a whole number from " + strconv.Itoa(low) + " to " + strconv.Itoa(high))
	}
	return int(n), nil
}

// scopes returns the requested scopes; none when there is no scope parameter.
func (p params) scopes() ([]string, error) {
	s, err := p.text("scope", maxLongBytes)
	return strings.Fields(s), err
}

func joined(scopes []string) string { return strings.Join(scopes, " ") }

// authenticate finds out which client calls, by client_secret_basic or client_secret_post.
func (a *API) authenticate(c *fiber.Ctx, p params) (access.Client, error) {
	id, secret, basic, err := credentials(c, p)
	if err != nil {
		return access.Client{}, err
	}
	client, err := a.access.Authenticate(c.UserContext(), id, secret)
	if !errors.Is(err, access.ErrClient) {
		return client, err
	}
	refused := &server.Problem{Status: http.StatusUnauthorized, Code: "invalid_client", Message: server.Message(err)}
	if basic {
		refused.Header = map[string]string{fiber.HeaderWWWAuthenticate: `Basic realm="tutela"`}
	}
	return access.Client{}, refused
}

// credentials reads a client's id and secret.
//
// Source: RFC 6749 §2.3.1: a client uses one way, and Basic credentials are form-encoded before base64.
func credentials(c *fiber.Ctx, p params) (id, secret string, basic bool, err error) {
	if id, err = p.text("client_id", maxShortBytes); err != nil {
		return "", "", false, err
	}
	if secret, err = p.text("client_secret", maxShortBytes); err != nil {
		return "", "", false, err
	}
	scheme, encoded, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Basic") {
		return id, secret, false, nil
	}
	if secret != "" {
		return "", "", true, badRequest("the client authenticates in two ways at once")
	}
	named := id
	if id, secret = decodeBasic(strings.TrimSpace(encoded)); id != "" && named != "" && named != id {
		return "", "", true, badRequest("client_id is not the client that authenticates")
	}
	return id, secret, true, nil
}

// decodeBasic returns the id and the secret of Basic credentials; what cannot be decoded has an empty id, which is no
// client's.
func decodeBasic(encoded string) (id, secret string) {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", ""
	}
	id, secret, _ = strings.Cut(string(decoded), ":")
	id, errID := url.QueryUnescape(id)
	secret, errSecret := url.QueryUnescape(secret)
	if errID != nil || errSecret != nil {
		return "", ""
	}
	return id, secret
}
