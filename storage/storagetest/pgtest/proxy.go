package pgtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tutela/storage/storagetest/check"
)

// socketName is the name of a server's socket in its folder. Source: PostgreSQL, "unix_socket_directories".
const socketName = ".s.PGSQL.5432"

// Proxy stands between a test and a cluster, and disturbs what goes through it as it is told. Safe for concurrent use.
type Proxy struct {
	folder   string
	cluster  *Cluster
	listener net.Listener

	mu      sync.Mutex
	flowing chan struct{} // closed while it lets through
	cut     *cut
	open    map[net.Conn]bool
	closed  bool
	pumps   sync.WaitGroup
}

// Direction is whose messages are meant.
type Direction int

// The directions.
const (
	FromClient Direction = iota
	FromServer
)

// cut says where a connection is to be cut.
type cut struct {
	of   Direction
	left int  // messages that still go through
	half bool // and half of the next
	done bool
}

// Proxy starts a proxy before the cluster. It ends with the test.
func (c *Cluster) Proxy(t testing.TB) *Proxy {
	t.Helper()
	folder, err := os.MkdirTemp("", "px")
	check.Must(t, err)
	listener, err := net.Listen("unix", filepath.Join(folder, socketName))
	check.Must(t, err)
	p := &Proxy{
		folder:   folder,
		cluster:  c,
		listener: listener,
		flowing:  make(chan struct{}),
		open:     make(map[net.Conn]bool),
	}
	close(p.flowing)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

// Through is a connection string of the cluster, by way of the proxy.
func (p *Proxy) Through(database string) string {
	return strings.Replace(database, url.QueryEscape(p.cluster.Folder), url.QueryEscape(p.folder), 1)
}

// Pause lets nothing through any more, in either direction: connections stand, and new ones can be made and get no answer, as
// when a network is torn.
func (p *Proxy) Pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flowing = make(chan struct{})
}

// Resume lets through again, also what was held up.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.flowing)
}

// Cut cuts the connection that is the first to send so many messages from now on, after these, and with half after the half of the next.
func (p *Proxy) Cut(of Direction, messages int, half bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = &cut{of: of, left: messages, half: half}
}

// HasCut reports whether the connection that Cut has meant was cut.
func (p *Proxy) HasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut != nil && p.cut.done
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	select {
	case <-p.flowing:
	default:
		close(p.flowing)
	}
	for conn := range p.open {
		_ = conn.Close()
	}
	p.mu.Unlock()
	_ = p.listener.Close()
	p.pumps.Wait()
	_ = os.RemoveAll(p.folder)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", filepath.Join(p.cluster.Folder, socketName))
		if err != nil {
			_ = client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
	}
}

// keep begins to pump between two connections.
func (p *Proxy) keep(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = client.Close()
		_ = server.Close()
		return false
	}
	p.open[client] = true
	p.open[server] = true
	end := sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, client)
		delete(p.open, server)
		_ = client.Close()
		_ = server.Close()
	})
	p.pumps.Go(func() {
		defer end()
		// The first message of a client has no type.
		if p.pass(client, server, FromClient, 0) == nil {
			p.pump(client, server, FromClient)
		}
	})
	p.pumps.Go(func() {
		defer end()
		p.pump(server, client, FromServer)
	})
	return true
}

func (p *Proxy) pump(from, to net.Conn, of Direction) {
	for p.pass(from, to, of, 1) == nil {
	}
}

var errCut = errors.New("the proxy has cut the connection")

// pass lets one message through: a type of so many bytes, and a length that counts itself. Source: PostgreSQL, "Message Formats".
func (p *Proxy) pass(from, to net.Conn, of Direction, typeBytes int) error {
	head := make([]byte, typeBytes+4)
	if _, err := io.ReadFull(from, head); err != nil {
		return err
	}
	message := make([]byte, typeBytes+int(binary.BigEndian.Uint32(head[typeBytes:])))
	copy(message, head)
	if _, err := io.ReadFull(from, message[len(head):]); err != nil {
		return err
	}
	p.mu.Lock()
	flowing := p.flowing
	p.mu.Unlock()
	<-flowing
	n, err := p.share(of, len(message))
	if _, failed := to.Write(message[:n]); failed != nil {
		return failed
	}
	return err
}

// share returns how many bytes of a message go through, and errCut when nothing does after them.
func (p *Proxy) share(of Direction, size int) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cut == nil || p.cut.done || p.cut.of != of:
		return size, nil
	case p.cut.left > 0:
		p.cut.left--
		return size, nil
	}
	p.cut.done = true
	if p.cut.half {
		return size / 2, errCut
	}
	return 0, errCut
}
