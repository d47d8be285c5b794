package access

import "time"

// claims are the claims that every token of ours has. Instants are Unix seconds.
//
// Source: RFC 7519 §4.1.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// claims returns the common claims of a token that is made now and lives for life.
func (s *Service) claims(subject, audience string, life time.Duration) claims {
	now := s.store.Wall()
	return claims{
		Issuer:   s.issuer,
		Subject:  subject,
		Audience: audience,
		Issued:   now.Unix(),
		Expires:  now.Add(life).Unix(),
	}
}

// idClaims are the claims of an ID token.
//
// Sources: OpenID Connect Core 1.0 §2; CIBA Core 1.0 §10.3.1 (auth_req_id).
type idClaims struct {
	claims

	AuthTime  int64    `json:"auth_time"`
	AMR       []string `json:"amr"`
	AuthReqID string   `json:"urn:openid:params:jwt:claim:auth_req_id,omitempty"`
}

// accessClaims are the claims of an access token about a user.
//
// Source: RFC 9068 §2.2.
type accessClaims struct {
	claims

	AuthTime int64    `json:"auth_time"`
	AMR      []string `json:"amr"`
	ClientID string   `json:"client_id"`
	ID       string   `json:"jti"`
	Scope    string   `json:"scope,omitempty"`
}

// resultClaims are the claims of a result token: of a login that the browser client has completed.
//
// Source: app-api.md "The browser client".
type resultClaims struct {
	claims

	AuthTime int64    `json:"auth_time"`
	AMR      []string `json:"amr"`
	TxID     string   `json:"txid,omitempty"` // none of a login of a remembered browser
	ID       string   `json:"jti"`
}

// managementClaims are the claims of a client's token for management calls. Only such a token has gty; no token about a
// user does.
//
// Source: Auth0's tokens for its Management API.
type managementClaims struct {
	claims

	Party     string `json:"azp"`
	ClientID  string `json:"client_id"`
	GrantType string `json:"gty"`
	ID        string `json:"jti"`
	Scope     string `json:"scope"`
	Version   int    `json:"ver,omitempty"` // of the client's tokens, when it was issued
}
