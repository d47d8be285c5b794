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
	"strconv"
	"syscall"
	"time"

	"tutela/recovery"
	"tutela/recovery/user"
	"tutela/server/access"
	"tutela/storage"
	"tutela/storage/setting"
)

// ErrNobodyServes is that of an admin socket on which nobody answers: no server runs on this data.
var ErrNobodyServes = storage.NewError(storage.Unavailable, "nobody answers on the admin socket")

// helloTime is how long a server has to say that it is there.
const helloTime = 5 * time.Second

// Client is the operator's calls over the admin socket of a running server. Safe for concurrent use.
type Client struct {
	path string
	http *http.Client
}

var _ Service = (*Client)(nil)

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
	_, err := hello.over(ctx, c, none{})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close gives the connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// over makes the call over the socket.
func (k call[I, O]) over(ctx context.Context, c *Client, in I) (out O, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		return out, err
	}
	resp, err := c.send(ctx, http.MethodPost, "/"+k.name, body)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("read the server's answer: %w", err)
	}
	return out, nil
}

// send sends a request and returns its answer, which is no error.
func (c *Client) send(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://tutela"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, ErrNobodyServes.With("nobody answers on %s", c.path)
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

func (e wireError) error() error {
	if e.Code == "" {
		return errors.New(e.Message)
	}
	return storage.NewError(e.Code, e.Message)
}

// AddClient registers a client.
func (c *Client) AddClient(ctx context.Context, n NewClient) (Credentials, error) {
	return addClient.over(ctx, c, n)
}

// Clients returns all clients, the oldest first.
func (c *Client) Clients(ctx context.Context) ([]access.Client, error) {
	return listClients.over(ctx, c, none{})
}

// RemoveClient removes a client.
func (c *Client) RemoveClient(ctx context.Context, id string) error {
	_, err := removeClient.over(ctx, c, id)
	return err
}

// Users returns users in the order of their ids.
func (c *Client) Users(ctx context.Context, p Page) ([]User, error) { return listUsers.over(ctx, c, p) }

// User returns all that is shown of a user.
func (c *Client) User(ctx context.Context, id string) (UserDetail, error) {
	return showUser.over(ctx, c, id)
}

// SetRole gives a user a role.
func (c *Client) SetRole(ctx context.Context, id string, role user.Role) error {
	_, err := setRole.over(ctx, c, roleOf{id, string(role)})
	return err
}

// SetBlocked blocks a user, or takes the block back.
func (c *Client) SetBlocked(ctx context.Context, id string, blocked bool) error {
	_, err := setBlocked.over(ctx, c, blockOf{id, blocked})
	return err
}

// Unlock opens what wrong codes have closed for a user, and lifts vetoes on restores.
func (c *Client) Unlock(ctx context.Context, id string) error {
	_, err := unlockUser.over(ctx, c, id)
	return err
}

// Reset removes every record of a user's MFA.
func (c *Client) Reset(ctx context.Context, r Reset) (recovery.Receipt, error) {
	return resetUser.over(ctx, c, r)
}

// Ticket makes a ticket.
func (c *Client) Ticket(ctx context.Context, r TicketRequest) (Ticket, error) {
	return makeTicket.over(ctx, c, r)
}

// Policies returns all policies by name.
func (c *Client) Policies(ctx context.Context) ([]setting.Info, error) {
	return listPolicies.over(ctx, c, none{})
}

// SetPolicy sets a policy and returns it as it stands.
func (c *Client) SetPolicy(ctx context.Context, name, value string) (setting.Info, error) {
	return setPolicy.over(ctx, c, policySet{name, value})
}

// Events returns events, oldest first.
func (c *Client) Events(ctx context.Context, q EventQuery) ([]Event, error) {
	return listEvents.over(ctx, c, q)
}

// JWKS returns the installation's public keys.
func (c *Client) JWKS(ctx context.Context) (json.RawMessage, error) {
	return readJWKS.over(ctx, c, none{})
}

// CopyTo writes a consistent copy of the data file.
func (c *Client) CopyTo(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, http.MethodGet, copyPath, nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	n, err := io.Copy(w, resp.Body)
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

// Compact writes the data file anew.
func (c *Client) Compact(ctx context.Context) (storage.Compaction, error) {
	return compact.over(ctx, c, none{})
}

// RotateKeys makes new keys and brings what is sealed to them.
func (c *Client) RotateKeys(ctx context.Context) (access.Rotation, error) {
	return rotateKeys.over(ctx, c, none{})
}
