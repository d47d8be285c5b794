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
	proof, err := p.ConsentProof(a)
	if err != nil {
		return Consent{}, err
	}
	response, err := p.Do(ctx, Call{
		Method:        http.MethodGet,
		URL:           p.consentAddress(a),
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

// ConsentProof signs a proof that this phone asks for the details of an approval. The server takes each proof once.
func (p *Phone) ConsentProof(a Approval) (string, error) {
	e, err := p.enrolled()
	if err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(a.Token))
	return p.sign(ConsentProof, e.Key, map[string]any{
		"htu": p.consentAddress(a),
		"htm": http.MethodGet,
		"ath": b64.EncodeToString(hash[:]),
		"jti": rand.Text(),
		"iat": p.seconds(p.now()),
	})
}

// consentAddress returns where the details of an approval are: beside the API, not below appliance-mfa.
func (p *Phone) consentAddress(a Approval) string {
	return strings.Replace(p.Base(), "/appliance-mfa", "", 1) + "/rich-consents/" + url.PathEscape(a.ConsentID)
}
