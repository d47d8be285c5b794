package loginapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"tutela/device/login"
	"tutela/server"
	"tutela/server/access"
)

// The bounds of parameters, in bytes.
const (
	maxShortBytes     = 512
	maxLongBytes      = 4096
	maxAssertionBytes = 8 << 10
	anyBytes          = math.MaxInt // of what is clipped: the body has a bound
)

// maxParameters bounds the parameters of a call, most of which we may not know. It is looked at first: the client is not
// known yet, and thousands take milliseconds to read.
const maxParameters = 100

var (
	errParameters = badRequest("there are too many parameters")
	errTwoWays    = badRequest("the client authenticates in two ways at once")
)

// params are the parameters of a call: strings of a form, or members of a JSON object.
type params map[string]json.RawMessage

// badRequest is the error of a parameter that is missing or malformed.
func badRequest(message string) error {
	return &server.Problem{Status: http.StatusBadRequest, Code: "invalid_request", Message: message}
}

// door authenticates a client by its Authorization field before the body is read. A client that is named in the body alone
// comes in as it is: the body is small, and read next.
func (a *API) door(asked server.Asked) (any, error) {
	id, secret, basic := basicCredentials(asked.Header(fiber.HeaderAuthorization))
	if !basic {
		return nil, nil
	}
	client, err := a.client(asked.Context(), id, secret, true)
	if err != nil {
		return nil, a.charged(asked.Context(), err)
	}
	return client, nil
}

// read reads a call's parameters and authenticates its client. A call that comes to nothing here counts against the
// caller's address.
func (a *API) read(c *fiber.Ctx) (params, access.Client, error) {
	ctx := c.UserContext()
	client, known := server.CallOf(ctx).Admitted().(access.Client)
	id, secret, basic := basicCredentials(c.Get(fiber.HeaderAuthorization))
	if basic && !known {
		var err error
		if client, err = a.client(ctx, id, secret, true); err != nil {
			return nil, client, a.charged(ctx, err)
		}
	}
	p, err := parse(c)
	if err != nil {
		return nil, client, a.charged(ctx, err)
	}
	named, secret, err := p.credentials()
	assertion, errAssertion := p.assertion()
	err = cmp.Or(err, errAssertion)
	switch {
	case err != nil:
	case assertion != "" && (basic || secret != ""):
		err = errTwoWays
	case assertion != "":
		client, err = a.byAssertion(ctx, named, assertion)
	case !basic:
		client, err = a.client(ctx, named, secret, false)
	case secret != "":
		err = errTwoWays
	case named != "" && named != client.ID:
		err = badRequest("client_id is not the client that authenticates")
	}
	return p, client, a.charged(ctx, err)
}

// readAnyhow is read for a call that a client makes by a token of its own: it need not authenticate, but what it says must be right. The
// client is zero when it has not authenticated by its Authorization field.
func (a *API) readAnyhow(c *fiber.Ctx) (params, access.Client, error) {
	ctx := c.UserContext()
	if _, _, basic := basicCredentials(c.Get(fiber.HeaderAuthorization)); basic {
		return a.read(c)
	}
	p, err := parse(c)
	if err != nil {
		return nil, access.Client{}, a.charged(ctx, err)
	}
	return p, access.Client{}, nil
}

// charged counts a call that came to nothing against its address, unless that is our fault, and returns what the caller is
// told.
func (a *API) charged(ctx context.Context, err error) error {
	if refused := (*server.Problem)(nil); errors.As(err, &refused) || errors.Is(err, login.ErrMFAToken) {
		if limited := a.limit.Charge(server.CallOf(ctx)); limited != nil {
			return limited
		}
	}
	return err
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
	if membersOf(body) > maxParameters {
		return nil, errParameters
	}
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

// membersOf returns how many members the object of a JSON text has, as far as it is one.
func membersOf(text []byte) int {
	depth := 0
	members := 1
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case ',':
			if depth == 1 {
				members++
			}
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		}
	}
	return members
}

// twice is said of a parameter that comes twice, which none may (RFC 6749 §3.2).
const twice = "a parameter is there twice"

// parseForm reads a form, in which an empty parameter counts as left out.
func parseForm(body []byte) (params, error) {
	if bytes.Count(body, []byte("&")) >= maxParameters {
		return nil, errParameters
	}
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
		return "", badRequest(name + " is not a text")
	}
	if len(s) > limit {
		return "", badRequest(name + " is longer than " + strconv.Itoa(limit) + " bytes")
	}
	return s, nil
}

// texts returns a parameter that is a list of texts: an array, or in a form one text. It is empty when the parameter is not there.
func (p params) texts(name string) ([]string, error) {
	raw, ok := p[name]
	if !ok {
		return nil, nil
	}
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil || len(text) > maxShortBytes {
		return nil, badRequest(name + " is not a list of texts")
	}
	if json.Unmarshal([]byte(text), &list) == nil {
		return list, nil
	}
	return []string{text}, nil
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

// boolean returns a parameter that is true or false, as JSON has it or as text; false when it is not there.
func (p params) boolean(name string) (bool, error) {
	switch string(p[name]) {
	case "", "false", `"false"`:
		return false, nil
	case "true", `"true"`:
		return true, nil
	}
	return false, badRequest(name + " is true or false")
}

// scopes returns the requested scopes; none when there is no scope parameter.
func (p params) scopes() ([]string, error) {
	s, err := p.text("scope", maxLongBytes)
	return strings.Fields(s), err
}

func joined(scopes []string) string { return strings.Join(scopes, " ") }

// client returns the client that has this id and secret, given by client_secret_basic or by client_secret_post.
func (a *API) client(ctx context.Context, id, secret string, basic bool) (access.Client, error) {
	client, err := a.access.Authenticate(ctx, id, secret)
	if !errors.Is(err, access.ErrClient) {
		return client, err
	}
	refused := &server.Problem{Status: http.StatusUnauthorized, Code: "invalid_client", Message: server.Message(err)}
	if basic {
		refused.Header = map[string]string{fiber.HeaderWWWAuthenticate: `Basic realm="tutela"`}
	}
	return access.Client{}, refused
}

// byAssertion returns the client that has signed an assertion.
//
// Source: RFC 7521 §4.2.1 (invalid_client).
func (a *API) byAssertion(ctx context.Context, id, assertion string) (access.Client, error) {
	client, err := a.access.AuthenticateByAssertion(ctx, id, assertion)
	if errors.Is(err, access.ErrClient) {
		err = &server.Problem{Status: http.StatusUnauthorized, Code: "invalid_client", Message: server.Message(err)}
	}
	return client, err
}

// assertion returns a client's assertion (private_key_jwt); "" when there is none.
func (p params) assertion() (string, error) {
	assertion, err := p.text("client_assertion", maxAssertionBytes)
	kind, errKind := p.text("client_assertion_type", maxShortBytes)
	switch {
	case cmp.Or(err, errKind) != nil:
		return "", cmp.Or(err, errKind)
	case assertion == "" && kind == "":
		return "", nil
	case assertion == "":
		return "", badRequest("client_assertion is missing")
	case kind != access.AssertionType:
		return "", badRequest("client_assertion_type is " + access.AssertionType)
	}
	return assertion, nil
}

// credentials returns a client's id and secret, as far as they are parameters.
func (p params) credentials() (id, secret string, err error) {
	id, errID := p.text("client_id", maxShortBytes)
	secret, errSecret := p.text("client_secret", maxShortBytes)
	return id, secret, cmp.Or(errID, errSecret)
}

// basicCredentials reads a client's id and secret from an Authorization field. basic reports whether that is of this scheme.
//
// Source: RFC 6749 §2.3.1: a client uses one way, and Basic credentials are form-encoded before base64.
func basicCredentials(field string) (id, secret string, basic bool) {
	scheme, encoded, _ := strings.Cut(field, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	id, secret = decodeBasic(strings.TrimSpace(encoded))
	return id, secret, true
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
