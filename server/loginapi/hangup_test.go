package loginapi_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tutela/device"
	"tutela/storage"
)

// caller is a login system on a bare socket.
type caller struct {
	h *house
	*net.TCPConn
}

// holds sends a request that waits for a login, and reads no answer.
func (h *house) holds(c client, id string) caller {
	h.t.Helper()
	conn, err := new(net.Dialer).DialContext(h.t.Context(), "tcp", strings.TrimPrefix(h.url, "http://"))
	h.must(err)
	socket, ok := conn.(*net.TCPConn)
	if !ok {
		h.t.Fatal("no TCP")
	}
	form := values(cibaForm(c, id, "wait", "60")...).Encode()
	_, err = fmt.Fprintf(socket, "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", formType, len(form), form)
	h.must(err)
	h.t.Cleanup(func() { _ = socket.Close() })
	return caller{h, socket}
}

// read reads the answer.
func (c caller) read() (status int, body string) {
	c.h.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	c.h.must(err)
	raw, err := io.ReadAll(resp.Body)
	c.h.must(err)
	c.h.must(resp.Body.Close())
	return resp.StatusCode, string(raw)
}

func TestToken_ACallerWhoHasHungUpTakesNothing(t *testing.T) {
	for name, hangUp := range map[string]func(caller) error{
		"closed":      caller.Close,
		"reset":       func(c caller) error { return joined(c.SetLinger(0), c.Close()) },
		"half closed": caller.CloseWrite,
		"behind another request": func(c caller) error {
			_, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
			return joined(err, c.CloseWrite())
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			p := h.enroll("maria")
			c := h.client("openid")
			begun := h.ask(c)
			id := begun.text("auth_req_id")
			gone := h.holds(c, id)
			h.UntilHeld(1)
			h.must(hangUp(gone))
			p.approve(begun)
			h.UntilHeld(0)
			want(t, h.collect(c, id), 200, "") // a poll, which no kept answer is for
		})
	}
}

// joined is the first error.
func joined(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestToken_TheSameHeldRequestGetsTheSameTokensForAMinute(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	id := begun.text("auth_req_id")
	p.approve(begun)
	first := h.collect(c, id, "wait", "1")
	want(t, first, 200, "")
	again := func() answer { return h.collect(c, id, "wait", "60") }
	same := func() {
		t.Helper()
		if a := again(); a.raw != first.raw {
			t.Errorf("other tokens: %d %s", a.status, a.raw)
		}
	}
	same()
	want(t, h.collect(c, id), 400, "invalid_grant")
	want(t, h.collect(h.client("openid"), id, "wait", "1"), 400, "invalid_grant")
	h.block("maria")
	want(t, again(), 400, "access_denied")
	h.SetBlocked("maria", false)
	same()
	setStatus := func(status device.Status) {
		h.Update(func(tx *storage.Tx) error {
			uid, e, err := device.Find(tx, p.ID)
			if err != nil {
				return err
			}
			e.Status = status
			return device.Put(tx, uid, e)
		})
	}
	setStatus(device.Suspended)
	want(t, again(), 400, "access_denied")
	setStatus(device.Active)
	same()
	h.clock.Advance(59 * time.Second)
	same()
	h.clock.Advance(2 * time.Second)
	want(t, again(), 400, "invalid_grant")
}

func TestToken_AnApprovalByAPhoneThatIsOutOfServiceGivesNone(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	begun := h.ask(c)
	p.approve(begun)
	p.leave()
	want(t, h.collect(c, begun.text("auth_req_id")), 400, "access_denied")
	want(t, h.collect(c, begun.text("auth_req_id"), "wait", "1"), 400, "access_denied")
}

// Callers hang up at any time: before the request is read, while it is held, while it takes the outcome, and after the
// answer. Nothing that was approved is lost, and all that were answered have the same tokens.
func TestToken_WhoeverHangsUpWhenNothingIsLostAndTokensAreOne(t *testing.T) {
	h := newHouse(t)
	p := h.enroll("maria")
	c := h.client("openid")
	for phase := range 12 {
		h.clock.Advance(2 * time.Minute) // twelve logins a minute
		begun := h.ask(c)
		id := begun.text("auth_req_id")
		var callers sync.WaitGroup
		hungUp := h.holds(c, id)
		if phase%3 > 0 {
			h.UntilHeld(1)
		}
		callers.Go(func() {
			for range phase * 50 {
				runtime.Gosched()
			}
			_ = hungUp.Close()
		})
		if phase%2 == 0 {
			callers.Wait()
		}
		p.approve(begun)
		told := make([]string, 2)
		for i := range told {
			callers.Go(func() {
				status, body := h.holds(c, id).read()
				for status != http.StatusOK { // told to come again, when two others wait
					status, body = h.holds(c, id).read()
				}
				told[i] = body
			})
		}
		callers.Wait()
		if told[0] != told[1] || !strings.Contains(told[0], "id_token") {
			t.Fatalf("phase %d: two sets of tokens:\n%s\n%s", phase, told[0], told[1])
		}
		h.UntilHeld(0)
	}
}
