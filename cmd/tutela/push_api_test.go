package main

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"tutela/device/phone"
	"tutela/device/push/pushtest"
)

// A certificate that is set by API rings a phone of the running server, without a restart, and after one.
func TestServe_ALoginRingsAPhoneByWhatWasSetByAPI(t *testing.T) {
	apple := pushtest.StartAPNs(t, pushtest.APNsOptions{})
	s := newLive(t)
	s.environment = []string{"TUTELA_APNS_ENDPOINT=" + apple.Endpoint(), "SSL_CERT_FILE=" + apple.RootsFile(t.TempDir())}
	s.open(t)
	s.admin = s.addClient(t, "settings", "update:guardian_factors create:guardian_enrollment_tickets")
	s.login(t)
	const path = "/guardian/factors/push-notification"
	p12 := base64.StdEncoding.EncodeToString(apple.Certificate(pkcs12.LegacyDES, "", ""))
	must(t, s.manage(t.Context(), http.MethodPut, path+"/providers/apns", map[string]any{"p12": p12, "bundle_id": pushtest.APNsTopic}, nil))
	must(t, s.manage(t.Context(), http.MethodPut, path+"/providers/fcmv1", map[string]any{"server_credentials": "tutela"}, nil))
	must(t, s.manage(t.Context(), http.MethodPut, path+"/selected-provider", map[string]any{"provider": "direct"}, nil))

	token := fmt.Sprintf("%064x", 7)
	p := s.ringing(t, "maria", phone.PushCredentials{Service: "APNS", Token: token})
	for n := 1; n <= 2; n++ {
		asked, err := s.ask(t.Context(), "maria")
		must(t, err)
		approval := rung(t, apple.Await(token, n)[n-1])
		must(t, p.Approve(t.Context(), approval, asked.Number))
		must(t, collectOne(t.Context(), s, asked))
		s.kill(syscall.SIGTERM)
		s.start(t)
	}
	if _, body := s.readyz(t); !strings.Contains(body, `"push":"FCM is not set up: `) {
		t.Errorf("readiness says %s", body)
	}
	if wrong := slices.Compact(apple.Wrong()); len(wrong) != 0 {
		t.Errorf("APNs does not understand: %v", wrong)
	}
}
