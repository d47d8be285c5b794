package access

import (
	"testing"
	"time"

	"tutela/recovery"
	"tutela/storage"
	"tutela/storage/audit"
	"tutela/storage/setting"
)

var _ = setting.Int("test.count", "a policy of these tests", 3, 1, 9)

func TestSetPolicy_IsAnEventAndRefusesWhatThePolicyDoesNotTake(t *testing.T) {
	h := newHouse(t)
	info, err := h.SetPolicy(h.ctx(), audit.ByOperator(7), "test.count", "5")
	must(t, err)
	if info.Value != "5" || info.Default != "3" {
		t.Errorf("policy %+v", info)
	}
	events := h.events(audit.TenantUpdate)
	if len(events) != 1 || events[0].By != "operator:7" || events[0].Facts["policy"] != "test.count" || events[0].Facts["value"] != "5" {
		t.Errorf("events %+v", events)
	}
	_, err = h.SetPolicy(h.ctx(), audit.ByOperator(7), "test.count", "10")
	wantErr(t, err, setting.ErrValue)
	_, err = h.SetPolicy(h.ctx(), audit.ByOperator(7), "nosuch", "1")
	wantErr(t, err, setting.ErrUnknown)
	_, err = h.Policy(h.ctx(), "nosuch")
	wantErr(t, err, setting.ErrUnknown)
	if info, err := h.Policy(h.ctx(), "test.count"); err != nil || info.Value != "5" {
		t.Errorf("policy %+v, %v", info, err)
	}
	if n := len(h.events(audit.TenantUpdate)); n != 1 {
		t.Errorf("%d events: a refusal is one", n)
	}
}

func TestRotateAll_LeavesEverythingThatWasGivenOutGood(t *testing.T) {
	h := newHouse(t)
	c, secret := h.client(Client{Scopes: []string{"read:users"}})
	token, _, err := h.ManagementToken(h.ctx(), c, h.ManagementAudience(), nil)
	must(t, err)
	uid := h.user("maria")
	codes := recovery.New(h.store, h.ring, h.SignReceipt)
	var code recovery.Code
	must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) (err error) {
		code, err = codes.Issue(tx, uid)
		return err
	}))
	receipt, err := h.SignReceipt(h.ctx(), []byte("{}"))
	must(t, err)
	for version := uint32(2); version <= 3; version++ {
		done, err := h.RotateAll(h.ctx(), audit.ByOperator(7))
		must(t, err)
		if done.Ring != version || done.Resealed == 0 {
			t.Errorf("rotation %+v", done)
		}
		h.clock.Advance(KeyLead + time.Minute)
	}
	if _, err := h.Authenticate(h.ctx(), c.ID, secret); err != nil {
		t.Errorf("the secret: %v", err)
	}
	if _, err := h.VerifyManagement(h.ctx(), token); err != nil {
		t.Errorf("the token: %v", err)
	}
	jwks, err := h.JWKS(h.ctx())
	must(t, err)
	if _, err := VerifyReceipt(receipt, jwks); err != nil {
		t.Errorf("the receipt: %v", err)
	}
	must(t, h.store.Update(h.ctx(), func(tx *storage.Tx) error {
		_, err := codes.Spend(tx, uid, recovery.LoginChannel, code, audit.ByUser())
		return err
	}))
	if events := h.events(audit.KeyRotated); len(events) != 6 || events[0].Facts["ring"] != "2" || events[0].By != "operator:7" {
		t.Errorf("events %+v", events)
	}
}

func TestRecordFailure_KnowsNothingPersonal(t *testing.T) {
	h := newHouse(t)
	c, _ := h.client(Client{Scopes: []string{"read:users"}})
	must(t, h.RecordFailure(h.ctx(), audit.ByClient(c.ID, nil, storage.House), "create_user", 409))
	events := h.events(audit.ManagementFailed)
	if len(events) != 1 || !events[0].UID.IsZero() || events[0].Client != c.ID || events[0].Facts["call"] != "create_user" || events[0].Facts["status"] != "409" {
		t.Errorf("events %+v", events)
	}
}
