package main

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tutela/device/phone"
	"tutela/server/access"
)

// A use case is measured in cpuRounds rounds (times b.N), each with users of its own. The median of the rounds counts.
const (
	cpuRounds  = 5
	cpuCallers = 64
)

// useCase is a use case whose CPU is measured against its floor: what the server spends on it, divided by what no
// server can leave out. The floor is its requests, sent to a process that only speaks HTTP, and its signatures of
// P-256.
type useCase struct {
	name     string
	short    string
	limit    float64 // at most so many times the floor
	each     int     // how often in a round
	requests int     // of one
	verified int     // signatures that the server must verify for one
	signed   int     // signatures that it must make

	// prepare makes n users ready, and returns what does the use case for one of them.
	prepare func(b *testing.B, n int) (do func(ctx context.Context, i int) error)
}

func (s *limitsBench) useCases() []useCase {
	return []useCase{
		{
			name:     "a whole login",
			short:    "login",
			limit:    3,
			each:     1200,
			prepare:  s.prepareLogins,
			requests: 4,
			verified: 1, // bc-authorize, pull, answer, token; the phone's answer
			signed:   2, // ID and access token
		},
		{
			name:     "a restore: start, code, read",
			short:    "restore",
			limit:    6,
			each:     600,
			prepare:  s.prepareRestores,
			requests: 3,
			verified: 1, // the new installation's JWT
		},
		{
			name:     "a login by recovery code",
			short:    "code",
			limit:    4,
			each:     1200,
			prepare:  s.prepareCodes,
			requests: 2, // mfa/start, token
			signed:   2,
		},
		{
			name:     "an admin's reset",
			short:    "reset",
			limit:    6,
			each:     1200,
			prepare:  s.prepareResets,
			requests: 1,
			signed:   1, // the receipt, by Ed25519, which costs about as much; the program's token has been verified before
		},
	}
}

// cost is the CPU of one use case in one round.
type cost struct{ server, floor time.Duration }

func (c cost) ratio() float64 { return float64(c.server) / float64(c.floor) }

// benchCPU measures a use case, and adds it to the table.
func (s *limitsBench) benchCPU(b *testing.B, u useCase) {
	costs := make([]cost, cpuRounds*b.N)
	for round := range costs {
		do := u.prepare(b, u.each)
		requests := s.recordOne(b, u, do)
		used := s.profiled(b, u.short, round, func() time.Duration {
			return perOne(b, s.cmd.Process.Pid, u.each-1, func(i int) error { return do(b.Context(), i+1) })
		})
		costs[round] = cost{used, s.floorOf(b, u, requests)}
	}
	slices.SortFunc(costs, func(x, y cost) int { return cmp.Compare(x.ratio(), y.ratio()) })
	typical := costs[len(costs)/2]
	s.table.add(row{
		what:     u.name + ", CPU",
		measured: milliseconds(typical.server),
		floor:    milliseconds(typical.floor),
		ratio:    fmt.Sprintf("%.1f", typical.ratio()),
		limit:    fmt.Sprintf("≤ %.0f ×", u.limit),
		within:   typical.ratio() <= u.limit,
		spread:   fmt.Sprintf("%.1f–%.1f", costs[0].ratio(), costs[len(costs)-1].ratio()),
	})
	b.ReportMetric(typical.ratio(), "×floor")
	b.ReportMetric(typical.server.Seconds()*1e3, "server-cpu-ms")
	b.ReportMetric(typical.floor.Seconds()*1e3, "floor-cpu-ms")
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.3f ms", d.Seconds()*1e3) }

// recordOne does the use case once, and returns the requests that it made.
func (s *limitsBench) recordOne(b *testing.B, u useCase, do func(context.Context, int) error) []recordedRequest {
	b.Helper()
	var sent recording
	if err := do(sent.with(b.Context()), 0); err != nil {
		b.Fatal(err)
	}
	if len(sent.requests) != u.requests {
		b.Fatalf("%s made %d requests, not %d: the floor would be of another use case", u.name, len(sent.requests), u.requests)
	}
	return sent.requests
}

// perOne does something n times, by cpuCallers at once, and returns the CPU that a process spent on one.
func perOne(b *testing.B, pid, n int, do func(i int) error) time.Duration {
	b.Helper()
	before := cpuOf(b, pid)
	var next atomic.Int64
	var group sync.WaitGroup
	for range cpuCallers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(n) && !b.Failed(); i = next.Add(1) - 1 {
				if err := do(int(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return (cpuOf(b, pid) - before) / time.Duration(n)
}

// floorOf measures the CPU that no server can leave out of one use case.
func (s *limitsBench) floorOf(b *testing.B, u useCase, requests []recordedRequest) time.Duration {
	b.Helper()
	floor := perOne(b, s.empty.cmd.Process.Pid, u.each, func(int) error {
		for i := range requests {
			if err := requests[i].send(b.Context(), s.http, s.empty.base); err != nil {
				return err
			}
		}
		return nil
	})
	verify, sign := s.signatures(b)
	return floor + time.Duration(u.verified)*verify + time.Duration(u.signed)*sign
}

// signatures measures the CPU of verifying and of making one signature of P-256.
func (s *limitsBench) signatures(b *testing.B) (verify, sign time.Duration) {
	b.Helper()
	const each = 2000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("tutela"))
	var signature []byte
	began := cpuOfThread(b)
	for range each {
		if signature, err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
	signedAt := cpuOfThread(b)
	for range each {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("a good signature does not verify")
		}
	}
	return (cpuOfThread(b) - signedAt) / each, (signedAt - began) / each
}

// prepareLogins makes phones that have been in use: each has made a call, so its JWT is known to the server.
func (s *limitsBench) prepareLogins(b *testing.B, n int) func(context.Context, int) error {
	phones := s.enrollFor(b, n)
	eachOf(b, len(phones), func(i int) error {
		_, err := phones[i].Approvals(b.Context(), 0, nil)
		return err
	})
	return func(ctx context.Context, i int) error { return s.whole(ctx, phones[i%len(phones)]) }
}

// prepareCodes makes users with a recovery code, which each login by it replaces.
func (s *limitsBench) prepareCodes(b *testing.B, n int) func(context.Context, int) error {
	phones := s.enrollFor(b, n)
	return func(ctx context.Context, i int) error {
		p := phones[i%len(phones)]
		// A caller who was held up may have this phone still when the others have been round: its code is spent then.
		p.inUse.Lock()
		defer p.inUse.Unlock()
		next, err := s.loginByCode(ctx, p.user, p.code)
		if err == nil {
			p.code = next
		}
		return err
	}
}

// loginByCode logs a user in by a recovery code, and returns the next one.
func (s *limitsBench) loginByCode(ctx context.Context, user, code string) (next string, err error) {
	var started struct {
		Token string `json:"mfa_token"`
	}
	if err := s.form(ctx, s.bank, "/mfa/start", &started, "user_id", user); err != nil {
		return "", err
	}
	var tokens struct {
		IDToken string `json:"id_token"`
		Next    string `json:"recovery_code"`
	}
	err = s.form(ctx, s.bank, "/oauth/token", &tokens, "grant_type", access.GrantRecoveryCode,
		"mfa_token", started.Token, "recovery_code", code)
	if err == nil && (tokens.IDToken == "" || tokens.Next == "") {
		err = errors.New("no ID token, or no next code")
	}
	return tokens.Next, err
}

// prepareRestores makes phones whose app is installed anew, with a backup kept by the server.
func (s *limitsBench) prepareRestores(b *testing.B, n int) func(context.Context, int) error {
	s.setPolicy(b, "restore.veto", "off") // what a restore costs, not how long it waits
	phones := s.enrollMany(b, n)
	eachOf(b, n, func(i int) error {
		accounts := []phone.Account{{Issuer: "shop", Name: phones[i].user, Secret: "JBSWY3DPEHPK3PXP"}}
		if _, err := phones[i].Backup(b.Context(), accounts, phone.BackupOptions{}); err != nil {
			return err
		}
		return phones[i].Reinstall(phone.Reinstallation{})
	})
	return func(ctx context.Context, i int) error {
		started, err := phones[i].StartRestore(ctx, false)
		if err != nil {
			return err
		}
		if started.Step != phone.StepRecoveryCode {
			return fmt.Errorf("the restore's step is %s (%s)", started.Step, started.Reason)
		}
		if _, err := phones[i].RestoreWithCode(ctx, phones[i].code); err != nil {
			return err
		}
		_, accounts, err := phones[i].FetchBackup(ctx)
		if err == nil && len(accounts) != 1 {
			err = fmt.Errorf("the backup has %d accounts", len(accounts))
		}
		return err
	}
}

// prepareResets makes users with a phone and a recovery code.
func (s *limitsBench) prepareResets(b *testing.B, n int) func(context.Context, int) error {
	phones := s.enrollMany(b, n)
	return func(ctx context.Context, i int) error {
		var receipt struct {
			Signature string `json:"signature"`
		}
		err := s.manage(ctx, http.MethodPost, "/users/"+phones[i].user+"/mfa-reset",
			map[string]string{"reason": "lost her phone", "caller_check": "in_person"}, &receipt)
		if err == nil && receipt.Signature == "" {
			err = errors.New("the receipt is not signed")
		}
		return err
	}
}
