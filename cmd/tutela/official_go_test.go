package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/auth0/go-auth0"
	"github.com/auth0/go-auth0/management"
	"golang.org/x/oauth2"
)

// goClient is the official client of Go, unmodified, on a house over TLS.
type goClient struct {
	*management.Management
	t        *testing.T
	m        *mounted
	recorded *recorded
	ran      []official
	ids      []string // that stand in paths
}

func newGoClient(t *testing.T, m *mounted) *goClient {
	t.Helper()
	caller, r := m.officialCaller(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, caller)
	client, err := management.New(m.domain(), management.WithClientCredentials(ctx, m.client.id, m.client.secret), management.WithClient(caller))
	must(t, err)
	return &goClient{
		Management: client,
		t:          t,
		m:          m,
		recorded:   r,
	}
}

// step runs a call. It fails the test when the client reports success and the server did not, or the other way round.
func (c *goClient) step(name string, call func(ctx context.Context) error) {
	c.t.Helper()
	err := call(c.t.Context())
	ran := c.recorded.take()
	ran.name = name
	ran.call = withoutIDs(ran.call, c.ids...)
	c.ran = append(c.ran, ran)
	var refused management.Error
	switch {
	case ran.call == " ":
		c.t.Errorf("%s made no call: %v", name, err)
	case err != nil && !errors.As(err, &refused):
		c.t.Errorf("%s: %v", name, err)
	case err != nil && refused.Status() < http.StatusBadRequest, err == nil && ran.result[0] != '2':
		c.t.Errorf("%s: the client says %v, and the server answered %s", name, err, ran.result)
	}
}

// expect returns an error unless a condition holds, about what a call returned.
func expectThat(holds bool, got any) error {
	if holds {
		return nil
	}
	return fmt.Errorf("it returned %v", got)
}

// The official Go client, unmodified and over TLS, makes every call that it offers about Guardian, enrolments, authentication methods,
// recovery codes and users.
func TestBookMigration_GoClientDrivesTheManagementAPI(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a hundred calls: run it without -short")
	}
	c := newGoClient(t, mountTLS(t))
	c.ids = []string{"maria", c.m.phone.Enrollment().ID}
	c.factors()
	c.push()
	c.refusedFactors()
	c.users()
	c.enrollments()
	c.logs()
	c.otherCallsOfUsers()
	compareWithPage(t, "go-auth0 1.30.0", c.ran)
}

func (c *goClient) factors() {
	mfa := c.Guardian.MultiFactor
	c.step("Guardian.MultiFactor.List", func(ctx context.Context) error {
		list, err := mfa.List(ctx)
		return errors.Join(err, expectThat(len(list) == 8 && list[1].GetName() == "push-notification" && list[1].GetEnabled(), list))
	})
	for name, enable := range map[string]func(ctx context.Context, enabled bool, opts ...management.RequestOption) error{
		"Push": mfa.Push.Enable, "OTP": mfa.OTP.Enable, "WebAuthnRoaming": mfa.WebAuthnRoaming.Enable,
		"WebAuthnPlatform": mfa.WebAuthnPlatform.Enable, "RecoveryCode": mfa.RecoveryCode.Enable,
	} {
		must(c.t, enable(c.t.Context(), false))
		c.step("Guardian.MultiFactor."+name+".Enable", func(ctx context.Context) error { return enable(ctx, true) })
	}
	slices.SortFunc(c.ran[1:], func(a, b official) int { return compareText(a.name, b.name) }) // a map has no order
	c.step("Guardian.MultiFactor.Policy", func(ctx context.Context) error {
		policies, err := mfa.Policy(ctx)
		return errors.Join(err, expectThat(len(*policies) == 0, policies))
	})
	c.step("Guardian.MultiFactor.UpdatePolicy", func(ctx context.Context) error {
		return mfa.UpdatePolicy(ctx, &management.MultiFactorPolicies{"all-applications"})
	})
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (c *goClient) push() {
	push := c.Guardian.MultiFactor.Push
	c.step("Guardian.MultiFactor.Push.Provider", func(ctx context.Context) error {
		p, err := push.Provider(ctx)
		return errors.Join(err, expectThat(p.GetProvider() == "guardian", p))
	})
	c.step("Guardian.MultiFactor.Push.UpdateProvider", func(ctx context.Context) error {
		return push.UpdateProvider(ctx, &management.MultiFactorProvider{Provider: auth0.String("guardian")})
	})
	c.step("Guardian.MultiFactor.Push.DirectAPNS", func(ctx context.Context) error {
		p, err := push.DirectAPNS(ctx)
		return errors.Join(err, expectThat(!p.GetEnabled() && p.BundleID == nil, p))
	})
	c.step("Guardian.MultiFactor.Push.UpdateDirectAPNS", func(ctx context.Context) error {
		return push.UpdateDirectAPNS(ctx, &management.MultiFactorPushDirectAPNS{Sandbox: auth0.Bool(false), BundleID: auth0.String("com.my.app")})
	})
	c.step("Guardian.MultiFactor.Push.UpdateDirectFCMv1", func(ctx context.Context) error {
		return push.UpdateDirectFCMv1(ctx, &management.MultiFactorPushDirectFCMv1{ServerCredentials: auth0.String(`{"type":"service_account"}`)})
	})
	c.step("Guardian.MultiFactor.Push.UpdateDirectFCM", func(ctx context.Context) error {
		return push.UpdateDirectFCM(ctx, &management.MultiFactorPushDirectFCM{ServerKey: auth0.String("x")})
	})
	c.step("Guardian.MultiFactor.Push.AmazonSNS", func(ctx context.Context) error {
		_, err := push.AmazonSNS(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.Push.UpdateAmazonSNS", func(ctx context.Context) error {
		return push.UpdateAmazonSNS(ctx, &management.MultiFactorProviderAmazonSNS{Region: auth0.String("eu")})
	})
	c.step("Guardian.MultiFactor.Push.CustomApp", func(ctx context.Context) error {
		_, err := push.CustomApp(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.Push.UpdateCustomApp", func(ctx context.Context) error {
		return push.UpdateCustomApp(ctx, &management.MultiFactorPushCustomApp{AppName: auth0.String("Hafenlicht")})
	})
	roaming := c.Guardian.MultiFactor.WebAuthnRoaming
	c.step("Guardian.MultiFactor.WebAuthnRoaming.Read", func(ctx context.Context) error {
		_, err := roaming.Read(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.WebAuthnRoaming.Update", func(ctx context.Context) error {
		return roaming.Update(ctx, &management.MultiFactorWebAuthnSettings{UserVerification: auth0.String("preferred"), OverrideRelyingParty: auth0.Bool(false)})
	})
	platform := c.Guardian.MultiFactor.WebAuthnPlatform
	c.step("Guardian.MultiFactor.WebAuthnPlatform.Read", func(ctx context.Context) error {
		_, err := platform.Read(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.WebAuthnPlatform.Update", func(ctx context.Context) error {
		return platform.Update(ctx, &management.MultiFactorWebAuthnSettings{OverrideRelyingParty: auth0.Bool(false)})
	})
}

// refusedFactors are those of Auth0 that are not here: false is taken, and all else refused.
func (c *goClient) refusedFactors() {
	mfa := c.Guardian.MultiFactor
	c.step("Guardian.MultiFactor.SMS.Enable(false)", func(ctx context.Context) error { return mfa.SMS.Enable(ctx, false) })
	c.step("Guardian.MultiFactor.SMS.Enable(true)", func(ctx context.Context) error { return mfa.SMS.Enable(ctx, true) })
	c.step("Guardian.MultiFactor.Phone.Enable(true)", func(ctx context.Context) error { return mfa.Phone.Enable(ctx, true) })
	c.step("Guardian.MultiFactor.Email.Enable(true)", func(ctx context.Context) error { return mfa.Email.Enable(ctx, true) })
	c.step("Guardian.MultiFactor.DUO.Enable(true)", func(ctx context.Context) error { return mfa.DUO.Enable(ctx, true) })
	c.step("Guardian.MultiFactor.Phone.Provider", func(ctx context.Context) error {
		_, err := mfa.Phone.Provider(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.Phone.UpdateProvider", func(ctx context.Context) error {
		return mfa.Phone.UpdateProvider(ctx, &management.MultiFactorProvider{Provider: auth0.String("twilio")})
	})
	c.step("Guardian.MultiFactor.Phone.MessageTypes", func(ctx context.Context) error {
		_, err := mfa.Phone.MessageTypes(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.Phone.UpdateMessageTypes", func(ctx context.Context) error {
		return mfa.Phone.UpdateMessageTypes(ctx, &management.PhoneMessageTypes{MessageTypes: &[]string{"sms"}})
	})
	c.step("Guardian.MultiFactor.SMS.Template", func(ctx context.Context) error {
		_, err := mfa.SMS.Template(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.SMS.UpdateTemplate", func(ctx context.Context) error {
		return mfa.SMS.UpdateTemplate(ctx, &management.MultiFactorSMSTemplate{EnrollmentMessage: auth0.String("x")})
	})
	c.step("Guardian.MultiFactor.SMS.Twilio", func(ctx context.Context) error {
		_, err := mfa.SMS.Twilio(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.SMS.UpdateTwilio", func(ctx context.Context) error {
		return mfa.SMS.UpdateTwilio(ctx, &management.MultiFactorProviderTwilio{From: auth0.String("x")})
	})
	c.step("Guardian.MultiFactor.DUO.Read", func(ctx context.Context) error {
		_, err := mfa.DUO.Read(ctx)
		return err
	})
	c.step("Guardian.MultiFactor.DUO.Update", func(ctx context.Context) error {
		return mfa.DUO.Update(ctx, &management.MultiFactorDUOSettings{Hostname: auth0.String("x")})
	})
}
