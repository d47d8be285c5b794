package server_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"tutela/server"
	"tutela/storage"
)

// limited serves /api/charged, which charges each call, and /api/checked, which only looks.
func limited(t *testing.T, perMinute int, trusted ...string) (*running, *storage.FakeClock) {
	t.Helper()
	clock := storage.NewFakeClock(time.Unix(1_700_000_000, 0))
	config := server.Config{Clock: clock, Limits: server.Limits{CallsPerAddress: perMinute}}
	for _, prefix := range trusted {
		config.TrustedProxies = append(config.TrustedProxies, netip.MustParsePrefix(prefix))
	}
	return start(t, config, func(s *server.Server) {
		s.App().Get("/api/charged", func(c *fiber.Ctx) error { return s.AddressLimit().Charge(server.CallOf(c.UserContext())) })
		s.App().Get("/api/checked", func(c *fiber.Ctx) error { return s.AddressLimit().Check(server.CallOf(c.UserContext())) })
		s.App().Get("/mfa/charged", func(c *fiber.Ctx) error { return s.AddressLimit().Charge(server.CallOf(c.UserContext())) })
	}), clock
}

// from asks as a caller behind the declared proxy.
func (r *running) from(addr, path string) answer {
	r.t.Helper()
	return r.ask("GET", path, "", "X-Forwarded-For", addr)
}

func TestAddressLimit_RefusesPastItsRateAndRefillsEvenly(t *testing.T) {
	r, clock := limited(t, 60, "127.0.0.0/8")
	for i := range 60 {
		if got := r.from("198.51.100.7", "/api/charged"); got.status != 200 {
			t.Fatalf("call %d: %d", i, got.status)
		}
	}
	for _, path := range []string{"/api/charged", "/api/checked"} {
		got := r.from("198.51.100.7", path)
		if got.status != 429 {
			t.Fatalf("%s: status %d", path, got.status)
		}
		wantJSON(t, got.body, `{"statusCode":429,"error":"Too Many Requests","message":"too many calls from this address","errorCode":"too_many_attempts"}`)
		for name, want := range map[string]string{
			"Retry-After":           "1",
			"X-RateLimit-Limit":     "60",
			"X-RateLimit-Remaining": "0",
			"X-RateLimit-Reset":     "1700000001",
		} {
			if value := got.header.Get(name); value != want {
				t.Errorf("%s: %s is %q, want %q", path, name, value, want)
			}
		}
	}
	wantJSON(t, r.from("198.51.100.7", "/mfa/charged").body, `{"error":"too_many_attempts","error_description":"too many calls from this address"}`)
	if got := r.from("198.51.100.8", "/api/charged"); got.status != 200 {
		t.Errorf("another address: %d", got.status)
	}
	clock.Jump(time.Hour)
	if got := r.from("198.51.100.7", "/api/charged"); got.status != 429 {
		t.Errorf("after the wall clock jumped: %d", got.status)
	}
	clock.Advance(2 * time.Second)
	var statuses []string
	for range 3 {
		statuses = append(statuses, strconv.Itoa(r.from("198.51.100.7", "/api/charged").status))
	}
	if got := strings.Join(statuses, " "); got != "200 200 429" {
		t.Errorf("after two seconds: %s", got)
	}
}

func TestAddressLimit_ChecksCountNothing(t *testing.T) {
	r, _ := limited(t, 2, "127.0.0.0/8")
	for range 5 {
		if got := r.from("198.51.100.7", "/api/checked"); got.status != 200 {
			t.Fatalf("status %d", got.status)
		}
	}
}

func TestAddressLimit_CountsIPv6ByItsSubscriber(t *testing.T) {
	r, _ := limited(t, 3, "127.0.0.0/8")
	for i := range 4 {
		want := 200
		if i == 3 {
			want = 429
		}
		if got := r.from(fmt.Sprintf("2001:db8:1:2::%d", i), "/api/charged"); got.status != want {
			t.Errorf("call %d: %d", i, got.status)
		}
	}
	if got := r.from("2001:db8:1:3::1", "/api/charged"); got.status != 200 {
		t.Errorf("the neighbour: %d", got.status)
	}
}

func TestAddressLimit_LoopbackIsExemptButNotAnUndeclaredProxy(t *testing.T) {
	r, _ := limited(t, 1)
	for range 5 {
		if got := r.ask("GET", "/api/charged", ""); got.status != 200 {
			t.Fatalf("loopback: %d", got.status)
		}
	}
	statuses := []int{
		r.from("198.51.100.7", "/api/charged").status,
		r.from("198.51.100.8", "/api/charged").status,
		r.ask("GET", "/api/charged", "", "Forwarded", "for=198.51.100.9").status,
		r.ask("GET", "/api/charged", "").status,
	}
	if got := fmt.Sprint(statuses); got != "[200 429 429 200]" {
		t.Errorf("statuses %s", got)
	}
	if n := strings.Count(r.log.String(), "--trusted-proxy"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestAddressLimit_ADeclaredProxyOnThisMachineIsNotExempt(t *testing.T) {
	for name, header := range map[string][]string{
		"it names nobody":        nil,
		"it names loopback":      {"X-Forwarded-For", "127.0.0.1"},
		"it names IPv6 loopback": {"X-Forwarded-For", "::1"},
		"it uses another field":  {"X-Real-IP", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := limited(t, 2, "127.0.0.1/32")
			var statuses []int
			for range 3 {
				statuses = append(statuses, r.ask("GET", "/api/charged", "", header...).status)
			}
			if got := fmt.Sprint(statuses); got != "[200 200 429]" {
				t.Errorf("statuses %s", got)
			}
		})
	}
}

func TestAddressLimit_AProxyThatNamesNobodyIsLoggedOnce(t *testing.T) {
	r, _ := limited(t, 100, "127.0.0.1/32")
	const warning = "sends no X-Forwarded-For"
	r.ask("GET", "/healthz", "")
	r.from("198.51.100.7", "/api/charged")
	if strings.Contains(r.log.String(), warning) {
		t.Errorf("logged of a look at the health: %s", r.log)
	}
	r.ask("GET", "/api/charged", "")
	r.ask("GET", "/api/charged", "")
	if n := strings.Count(r.log.String(), warning); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

func TestAddressLimit_AnyFieldOfAProxyEndsTheExemption(t *testing.T) {
	for _, field := range []string{"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"} {
		r, _ := limited(t, 1)
		r.ask("GET", "/api/charged", "", field, "127.0.0.1")
		if got := r.ask("GET", "/api/charged", "", field, "127.0.0.1"); got.status != 429 {
			t.Errorf("%s: %d", field, got.status)
		}
	}
}

func TestAddressLimit_ANetworkIsOneCallerWithEightTimesTheRate(t *testing.T) {
	for name, network := range map[string]struct{ inside, outside string }{
		"a /48 of IPv6": {"2001:db8:1:%x::1", "2001:db8:2::1"},
		"a /24 of IPv4": {"198.51.100.%d", "198.51.101.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, clock := limited(t, 60, "127.0.0.0/8")
			passed := 0
			last := answer{}
			for round := range 5 {
				for host := range 120 {
					last = r.from(fmt.Sprintf(network.inside, host+1), "/api/charged")
					if last.status == 200 {
						passed++
					} else if round == 0 && host < 100 {
						t.Fatalf("call %d: %d", host, last.status)
					}
				}
			}
			if passed != 8*60 {
				t.Errorf("%d passed", passed)
			}
			if limit := last.header.Get("X-Ratelimit-Limit"); last.status != 429 || limit != "480" {
				t.Errorf("the last: %d, limit %s", last.status, limit)
			}
			if got := r.from(network.outside, "/api/charged"); got.status != 200 {
				t.Errorf("another network: %d", got.status)
			}
			clock.Advance(time.Second)
			if got := r.from(fmt.Sprintf(network.inside, 1), "/api/charged"); got.status != 200 {
				t.Errorf("a second later: %d", got.status)
			}
		})
	}
}

func TestAddressLimit_NegativeMeansNone(t *testing.T) {
	r, _ := limited(t, -1, "127.0.0.0/8")
	for range 5 {
		if got := r.from("198.51.100.7", "/api/charged"); got.status != 200 {
			t.Fatalf("status %d", got.status)
		}
	}
}

func TestAddressLimit_IsExactUnderARace(t *testing.T) {
	r, _ := limited(t, 100, "127.0.0.0/8")
	var passed atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 20 {
				if r.from("198.51.100.7", "/api/charged").status == 200 {
					passed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := passed.Load(); got != 100 {
		t.Errorf("%d passed", got)
	}
}
