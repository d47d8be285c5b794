// Package pushtest holds stand-ins of the push services. They listen on this machine, behave as the services do, and refuse what
// the services refuse: wrong credentials, headers and shapes of JSON. What they answer is played: a test says for each token of a
// phone what comes next. They count what they are asked, and keep what they have taken.
package pushtest

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Play is how a stand-in answers one request. The zero Play takes the message.
type Play struct {
	Status int // 0: 200
	Header map[string]string
	Body   string

	Hang  bool   // answers nothing until the caller hangs up
	Cut   bool   // takes the message, and breaks the connection in the middle of the answer
	Flood int64  // answers so many bytes
	Then  func() // is called before the answer; nil: nothing
}

// takes reports whether the service takes the message.
func (p Play) takes() bool { return (p.Status == 0 || p.Cut) && !p.Hang && p.Flood == 0 }

// Accept takes the message.
var Accept = Play{}

// Hang never answers.
var Hang = Play{Hang: true}

// Cut takes the message, and breaks the connection in the middle of the answer.
var Cut = Play{Cut: true}

// Flood answers 200 and 1 GiB.
var Flood = Play{Flood: 1 << 30}

// Redirect sends the caller to a URL.
func Redirect(to string) Play {
	return Play{Status: http.StatusTemporaryRedirect, Header: map[string]string{"Location": to}}
}

// After returns the play with the header Retry-After: seconds, or an HTTP date.
func (p Play) After(value string) Play {
	header := map[string]string{"Retry-After": value}
	for name, was := range p.Header {
		header[name] = was
	}
	p.Header = header
	return p
}

// AfterDate returns the play with an HTTP date in Retry-After.
func (p Play) AfterDate(at time.Time) Play { return p.After(at.UTC().Format(http.TimeFormat)) }

// Taken is a message that a stand-in has taken.
type Taken struct {
	Token  string
	Header http.Header
	Data   map[string]any // what the app gets
	Raw    []byte         // the body of the request
}

// desk is what all stand-ins do: it plays, counts and keeps. Safe for concurrent use.
type desk struct {
	t testing.TB

	mu       sync.Mutex
	scripts  map[string][]Play // of a token: what comes next
	always   map[string]Play   // of a token: what comes when its script is over
	requests int
	conns    int
	asked    map[string]int
	taken    []Taken
	wrong    []string
	forgets  bool
	changed  chan struct{} // closed with every change
}

func newDesk(t testing.TB) *desk {
	return &desk{
		t:       t,
		scripts: map[string][]Play{},
		always:  map[string]Play{},
		asked:   map[string]int{},
		changed: make(chan struct{}),
	}
}

// Script plays these for the next requests to a phone's token, one each, and then what Always says.
func (d *desk) Script(token string, plays ...Play) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scripts[token] = append(d.scripts[token], plays...)
}

// Always plays this for requests to a phone's token when its script is over; "": for those to every token without a play of its own.
// Without it the message is taken.
func (d *desk) Always(token string, p Play) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.always[token] = p
}

// next returns what to play for a token.
func (d *desk) next(token string) Play {
	d.mu.Lock()
	defer d.mu.Unlock()
	if plays := d.scripts[token]; len(plays) > 0 {
		d.scripts[token] = plays[1:]
		return plays[0]
	}
	if p, ok := d.always[token]; ok {
		return p
	}
	return d.always[""]
}

// Requests returns how many requests there were, also refused ones.
func (d *desk) Requests() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests
}

// Connections returns how many connections there were.
func (d *desk) Connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns
}

// countConnection is called by a server when the state of a connection changes.
func (d *desk) countConnection(_ net.Conn, state http.ConnState) {
	if state == http.StateNew {
		d.note(func() { d.conns++ })
	}
}

// Asked returns how many well-formed requests there were for a phone's token.
func (d *desk) Asked(token string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[token]
}

// Taken returns the messages to a phone's token that were taken, oldest first; "": those to all.
func (d *desk) Taken(token string) (list []Taken) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.taken {
		if token == "" || one.Token == token {
			list = append(list, one)
		}
	}
	return list
}

// Wrong returns what was wrong with requests that no service would understand, in words.
func (d *desk) Wrong() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.wrong...)
}

// Await waits until a phone's token was sent n messages that were taken.
func (d *desk) Await(token string, n int) []Taken {
	d.t.Helper()
	var list []Taken
	d.AwaitThat(func() bool {
		list = d.Taken(token)
		return len(list) >= n
	})
	return list
}

// AwaitAsked waits until there were n well-formed requests for a phone's token.
func (d *desk) AwaitAsked(token string, n int) {
	d.t.Helper()
	d.AwaitThat(func() bool { return d.Asked(token) >= n })
}

// AwaitThat waits until cond holds. It is asked again after every request.
func (d *desk) AwaitThat(cond func() bool) {
	d.t.Helper()
	for {
		d.mu.Lock()
		changed := d.changed
		d.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-d.t.Context().Done():
			d.t.Fatal("the test ends before the stand-in was asked")
		}
	}
}

// note changes what is counted.
func (d *desk) note(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *desk) noteRequest() { d.note(func() { d.requests++ }) }

func (d *desk) noteAsked(token string) { d.note(func() { d.asked[token]++ }) }

func (d *desk) noteWrong(what string) { d.note(func() { d.wrong = append(d.wrong, what) }) }

func (d *desk) noteTaken(m Taken) {
	d.note(func() {
		if !d.forgets {
			d.taken = append(d.taken, m)
		}
	})
}

// CountOnly keeps no messages from now on, for a benchmark.
func (d *desk) CountOnly() { d.note(func() { d.forgets = true }) }

// play answers. took is the body of an answer that takes the message.
func (p Play) play(w http.ResponseWriter, r *http.Request, took string) {
	if p.Then != nil {
		p.Then()
	}
	for name, value := range p.Header {
		w.Header().Set(name, value)
	}
	switch {
	case p.Hang:
		<-r.Context().Done()
	case p.Cut:
		w.Header().Set("Content-Length", strconv.Itoa(len(took)+1000))
		_, _ = io.WriteString(w, took)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case p.Flood > 0:
		flood(w, p.Flood)
	case p.takes():
		_, _ = io.WriteString(w, took)
	default:
		w.WriteHeader(p.Status)
		_, _ = io.WriteString(w, p.Body)
	}
}

func flood(w io.Writer, left int64) {
	block := bytes.Repeat([]byte(" "), 1<<16)
	for left > 0 {
		n, err := w.Write(block[:min(left, int64(len(block)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}
