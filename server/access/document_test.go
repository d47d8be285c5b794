package access

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiscovery_DescribesTheLoginAPI(t *testing.T) {
	h := newHouse(t)
	var got map[string]any
	must(t, json.Unmarshal(h.Discovery(), &got))
	want := map[string]any{
		"issuer":                                public + "/",
		"token_endpoint":                        public + "/oauth/token",
		"backchannel_authentication_endpoint":   public + "/bc-authorize",
		"jwks_uri":                              public + "/.well-known/jwks.json",
		"scopes_supported":                      []any{"openid"},
		"response_types_supported":              []any{"code"},
		"code_challenge_methods_supported":      []any{"S256"},
		"grant_types_supported":                 []any{GrantCIBA, GrantAuthorizationCode, GrantClientCredentials, GrantOTP, GrantOOB, GrantRecoveryCode, GrantPasskey},
		"subject_types_supported":               []any{"public"},
		"id_token_signing_alg_values_supported": []any{"ES256", "RS256"},
		"token_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []any{
			"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
		},
		"claims_supported":                           []any{"iss", "sub", "aud", "iat", "exp", "auth_time", "amr"},
		"backchannel_token_delivery_modes_supported": []any{"poll", "ping"},
		"backchannel_authentication_request_signing_alg_values_supported": []any{
			"ES256", "ES384", "ES512", "EdDSA", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512",
		},
		"backchannel_user_code_parameter_supported": false,
		"claims_parameter_supported":                false,

		"authorization_response_iss_parameter_supported": true,
		"request_parameter_supported":                    false,
		"request_uri_parameter_supported":                false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("discovery (-want +got):\n%s", diff)
	}
}
