package operator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"tutela/storage"
)

// ErrNobodyServes reports that nobody answers on the admin socket: no server runs on this data.
var ErrNobodyServes = storage.NewError(storage.Unavailable, "nobody answers on the admin socket")

// ErrCutOff reports that the server ended before its answer was whole. It may have carried the call out.
var ErrCutOff = storage.NewError(storage.OutcomeUnknown, "the server ended before it answered")

// helloTime is how long Dial waits for a server to answer.
const helloTime = 5 * time.Second

// Client makes the operator's calls over the admin socket of a running server. Safe for concurrent use.
type Client struct {
	path string
	sudo string // who acts as the operator by sudo
	http *http.Client
}

var _ Service = (*Client)(nil)

// headerSudo names, percent-encoded, the person who acts as the operator by sudo.
const headerSudo = "Tutela-Sudo-User"

// BySudo names the person who acts as the operator by sudo, for the event log; see [audit.Actor.BySudo]. Use it before the
// first call.
func (c *Client) BySudo(name string) { c.sudo = name }

// Dial reaches the server that listens on the admin socket at path.
//
// Errors: ErrPath; ErrNobodyServes; why the socket cannot be opened.
func Dial(ctx context.Context, path string) (*Client, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	c := &Client{path: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, path) },
	}}}
	ctx, cancel := context.WithTimeout(ctx, helloTime)
	defer cancel()
	_, err := hello.Do(ctx, c, None{})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close gives the connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) perform(ctx context.Context, name string, in, out any, _ func(*Local) error) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodPost, "/"+name, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	err = json.NewDecoder(resp.Body).Decode(out)
	if isCutOff(err) {
		return c.cutOff()
	}
	if err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}

// send makes a request and returns its answer when that is a success; the caller closes the body.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://tutela"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.sudo != "" {
		req.Header.Set(headerSudo, url.PathEscape(c.sudo))
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNobodyServes.With("nobody answers on %s", c.path)
	case isCutOff(err):
		return nil, c.cutOff()
	case err != nil:
		return nil, fmt.Errorf("call the server on %s: %w", c.path, err)
	case resp.StatusCode == http.StatusOK:
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	var told wireError
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxCallBytes)).Decode(&told); err != nil {
		return nil, fmt.Errorf("the server on %s answered %s: it may be another version", c.path, resp.Status)
	}
	return nil, told.error()
}

// isCutOff reports whether err says that the other end of the connection is gone.
func isCutOff(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *Client) cutOff() error {
	return ErrCutOff.With("the server on %s ended before it answered: see that it runs, look whether this was done, and run it again", c.path)
}

// CopyTo writes a consistent copy of the data file.
func (c *Client) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, http.MethodGet, copyPath, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	n, err := io.Copy(w, resp.Body)
	if isCutOff(err) {
		return n, c.cutOff()
	}
	if err != nil {
		return n, fmt.Errorf("copy the data file: %w", err)
	}
	if failed := resp.Trailer.Get(trailerError); failed != "" {
		var told wireError
		if json.Unmarshal([]byte(failed), &told) != nil {
			return n, errors.New("copy the data file: the server failed")
		}
		return n, told.error()
	}
	if size, err := strconv.ParseInt(resp.Trailer.Get(trailerSize), 10, 64); err != nil || size != n {
		return n, errors.New("copy the data file: the copy is cut short")
	}
	return n, nil
}
