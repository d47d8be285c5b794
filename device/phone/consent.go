package phone

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// Consent is what an approval is about, when there are details to show.
type Consent struct {
	ID        string `json:"id"`
	CreatedAt string `json:"created_at"`
	ExpiresAt string `json:"expires_at"`
	Requested struct {
		Audience             string            `json:"audience"`
		Scope                []string          `json:"scope"`
		BindingMessage       string            `json:"binding_message"`
		AuthorizationDetails []json.RawMessage `json:"authorization_details"`
	} `json:"requested_details"`
}

// Consent asks for the details of an approval that has a ConsentID. Any 404 means that there are none.
//
// Source: guardian-wire.md §4.5; RFC 9449 for the shape of the proof.
func (p *Phone) Consent(ctx context.Context, a Approval) (Consent, error) {
	e, err := p.enrolled()
	if err != nil {
		return Consent{}, err
	}
	address := strings.Replace(p.Base(), "/appliance-mfa", "", 1) + "/rich-consents/" + url.PathEscape(a.ConsentID)
	hash := sha256.Sum256([]byte(a.Token))
	proof, err := p.sign(ConsentProof, e.Key, map[string]any{
		"htu": address, "htm": http.MethodGet, "ath": b64.EncodeToString(hash[:]), "jti": rand.Text(), "iat": p.seconds(p.now()),
	})
	if err != nil {
		return Consent{}, err
	}
	response, err := p.Do(ctx, Call{
		Method:        http.MethodGet,
		URL:           address,
		Authorization: "MFA-DPoP " + a.Token,
		Header:        map[string]string{"MFA-DPoP": proof},
	})
	if err != nil {
		return Consent{}, err
	}
	var consent Consent
	err = response.decode(&consent)
	return consent, err
}
