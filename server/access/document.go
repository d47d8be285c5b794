package access

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/go-jose/go-jose/v4"
)

// JWKS returns the JSON Web Key Set of /.well-known/jwks.json: the public keys of all signatures that are still valid, and
// of those that will be made within [KeyLead]. Nobody should keep the set for longer than half of KeyLead.
//
// Source: RFC 7517 §5.
func (s *Service) JWKS(ctx context.Context) ([]byte, error) {
	set, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	return set.jwks, nil
}

func (set *keySet) document() ([]byte, error) {
	document := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(set.keys))}
	for _, k := range set.keys {
		document.Keys = append(document.Keys, k.stored.Public)
	}
	return json.Marshal(document)
}

// Discovery returns the document of /.well-known/openid-configuration. It does not change while the server runs.
func (s *Service) Discovery() []byte { return s.discovery }

// DiscoveryType is the type of the document that Discovery returns.
var DiscoveryType = reflect.TypeFor[discovery]()

// discovery is what we say of ourselves. Sources: OpenID Connect Discovery 1.0 §3, CIBA Core 1.0 §4.
type discovery struct {
	Issuer              string   `json:"issuer"`
	TokenEndpoint       string   `json:"token_endpoint"`
	BackchannelEndpoint string   `json:"backchannel_authentication_endpoint"`
	JWKSURI             string   `json:"jwks_uri"`
	ScopesSupported     []string `json:"scopes_supported"`
	ResponseTypes       []string `json:"response_types_supported"` // of hosted pages, which a client opens by POST /mfa/requests
	ChallengeMethods    []string `json:"code_challenge_methods_supported"`
	IssInResponse       bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 §3
	GrantTypes          []string `json:"grant_types_supported"`
	SubjectTypes        []string `json:"subject_types_supported"`
	IDTokenAlgs         []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods         []string `json:"token_endpoint_auth_methods_supported"`
	AssertionAlgs       []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Claims              []string `json:"claims_supported"`
	DeliveryModes       []string `json:"backchannel_token_delivery_modes_supported"`
	RequestAlgs         []string `json:"backchannel_authentication_request_signing_alg_values_supported"`
	UserCode            bool     `json:"backchannel_user_code_parameter_supported"`
	ClaimsParameter     bool     `json:"claims_parameter_supported"`
	RequestParameter    bool     `json:"request_parameter_supported"`     // of an authorization endpoint, which there is none of
	RequestURIParameter bool     `json:"request_uri_parameter_supported"` // without it, the default is true
}

func discoveryOf(public string) discovery {
	return discovery{
		Issuer:              public + "/",
		TokenEndpoint:       public + tokenPath,
		BackchannelEndpoint: public + backchannelPath,
		JWKSURI:             public + "/.well-known/jwks.json",
		ScopesSupported:     []string{ScopeOpenID},
		ResponseTypes:       []string{"code"},
		ChallengeMethods:    []string{"S256"},
		IssInResponse:       true,
		GrantTypes:          []string{GrantCIBA, GrantAuthorizationCode, GrantClientCredentials, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey},
		SubjectTypes:        []string{"public"},
		IDTokenAlgs:         []string{string(es256), string(rs256)},
		AuthMethods:         []string{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		AssertionAlgs:       AssertionAlgs(),
		Claims:              []string{"iss", "sub", "aud", "iat", "exp", "auth_time", "amr"},
		DeliveryModes:       []string{DeliveryPoll, DeliveryPing},
		RequestAlgs:         AssertionAlgs(),
	}
}
