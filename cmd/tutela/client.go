package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"tutela/device"
	"tutela/server/access"
	"tutela/server/operator"
)

// clientCmd is "tutela client".
type clientCmd struct {
	Add    clientAddCmd    `cmd:"" help:"Register a client; its secret is shown once."`
	List   clientListCmd   `cmd:"" help:"Show the clients."`
	Remove clientRemoveCmd `cmd:"" help:"Remove a client; its secret and its tokens die."`

	RotateSecret clientRotateCmd `cmd:"" name:"rotate-secret" help:"Give a client another secret, shown once."`
}

type clientRotateCmd struct {
	dataFlags
	ID      string        `arg:"" name:"client-id" help:"The client_id, as client list shows it."`
	Overlap time.Duration `default:"0s" placeholder:"TIME" help:"For how long the secret before still counts, such as 24h; at most 168h. By default it ends at once, and so do the management tokens issued before."`
}

// Help is the long help of "tutela client rotate-secret".
func (clientRotateCmd) Help() string {
	return `Prints {"client_id","client_secret"}. The secret is kept as a hash: it cannot be shown again.

  tutela client rotate-secret aOPa0RVkwcvcYtrEmMPPXSqpbi4MX3km                 it was stolen: all that it opened ends
  tutela client rotate-secret aOPa0RVkwcvcYtrEmMPPXSqpbi4MX3km --overlap 24h   both count for a day`
}

// Run rotates the secret.
func (c *clientRotateCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		credentials, err := operator.RotateSecret.Do(ctx, s, operator.Rotation{ClientID: c.ID, Overlap: c.Overlap})
		if err != nil {
			return err
		}
		return printLine(credentials)
	})
}

type clientAddCmd struct {
	dataFlags
	Name        string   `arg:"" help:"What the client is called."`
	Scope       []string `sep:"none" placeholder:"\"A B\"" help:"Scopes, separated by spaces; repeatable. openid for a login system, read:users and the like for an admin's program."`
	Grant       []string `sep:"none" placeholder:"GRANT_TYPE" help:"Whole grant_type that it may use; repeatable. By default those that its scopes need."`
	RedirectURI []string `name:"redirect-uri" sep:"none" placeholder:"URI" help:"Where a hosted page may send the browser back; repeatable."`
	WebOrigin   []string `name:"web-origin" sep:"none" placeholder:"ORIGIN" help:"Origin of its pages that call from a browser; repeatable."`
	IDTokenAlg  string   `name:"id-token-alg" default:"ES256" enum:"ES256,RS256" placeholder:"ALG" help:"What signs its users' tokens: ES256 or RS256."`
	Presence    string   `default:"" enum:",number,tap" placeholder:"number|tap" help:"tap: for a login system that cannot show digits. By default as the policy says."`
	Delivery    string   `name:"delivery-mode" default:"poll" enum:"poll,ping" placeholder:"poll|ping" help:"How it learns that an approval is decided (CIBA): it polls, or is told at its notification endpoint."`
	NotifyAt    string   `name:"notification-endpoint" placeholder:"URL" help:"With --delivery-mode ping: the URL that is told."`
	JWKS        string   `name:"jwks" placeholder:"FILE|JSON" help:"Its public keys, a JWK Set or one JWK: it signs a JWT (private_key_jwt) in place of a secret."`
	RequestAlg  string   `name:"request-alg" placeholder:"ALG" help:"With --jwks: it signs its authentication requests too (CIBA), by this algorithm of one of its keys, such as ES256; unsigned ones are refused."`
	ActsAs      string   `name:"acts-as" placeholder:"USER" help:"Id of the user for whom it makes management calls: nobody changes his own factors."`
}

// Help is the long help of "tutela client add".
func (clientAddCmd) Help() string {
	return `Prints {"client_id","client_secret"}, with --jwks the client_id alone. The secret is kept as a hash: it cannot be shown again.

  tutela client add shop --scope openid                                    a login system
  tutela client add idp --scope openid --jwks public-keys.json             one that signs, and has no secret
  tutela client add bank --scope openid --jwks public-keys.json --request-alg PS256   one that signs what it asks, too
  tutela client add vpn --scope openid --presence tap                      one that cannot show digits
  tutela client add mail --scope openid --delivery-mode ping --notification-endpoint https://mail.example.org/ping
  tutela client add helpdesk --scope "read:users reset:mfa read:logs"      an admin's program
  tutela client add jobs --scope delete:users --grant client_credentials`
}

// Run registers the client.
func (c *clientAddCmd) Run(ctx context.Context) error {
	added := operator.NewClient{
		Name:         c.Name,
		Grants:       c.Grant,
		RedirectURIs: c.RedirectURI,
		WebOrigins:   c.WebOrigin,
		IDTokenAlg:   c.IDTokenAlg,
		Presence:     device.Presence(c.Presence),
		DeliveryMode: c.Delivery,
		NotifyAt:     c.NotifyAt,
		RequestAlg:   c.RequestAlg,
		ActsAs:       c.ActsAs,
	}
	var err error
	if added.Keys, err = c.keys(); err != nil {
		return err
	}
	for _, scopes := range c.Scope {
		added.Scopes = append(added.Scopes, strings.Fields(scopes)...)
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		credentials, err := operator.AddClient.Do(ctx, s, added)
		if err != nil {
			return err
		}
		return printLine(credentials)
	})
}

// keys are the client's public keys, as they were given or as the file has them.
func (c *clientAddCmd) keys() (json.RawMessage, error) {
	given := []byte(strings.TrimSpace(c.JWKS))
	if len(given) == 0 {
		return nil, nil
	}
	if given[0] != '{' {
		var err error
		if given, err = os.ReadFile(string(given)); err != nil {
			return nil, usageError{fmt.Errorf("read the client's keys: %w", err)}
		}
	}
	keys, err := access.ParseClientKeys(given)
	if err != nil {
		return nil, usageError{err}
	}
	return keys, nil
}

type clientListCmd struct {
	dataFlags
	JSON bool `name:"json" help:"Print JSON, for scripts."`
}

// Run shows the clients.
func (c *clientListCmd) Run(ctx context.Context) error {
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		clients, err := operator.ListClients.Do(ctx, s, operator.None{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(each(clients, clientForScripts))
		}
		if len(clients) == 0 {
			fmt.Fprintln(os.Stderr, "There is no client yet: tutela client add NAME --scope openid")
			return nil
		}
		table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		say(table, "CLIENT ID\tNAME\tADDED\tLAST USED\tSCOPES\n")
		for _, client := range clients {
			say(table, "%s\t%s\t%s\t%s\t%s\n", client.ID, plain(client.Name), shortTime(client.Created), shortTime(client.LastUsed),
				strings.Join(client.Scopes, " "))
		}
		return table.Flush()
	})
}

type clientRemoveCmd struct {
	dataFlags
	ID string `arg:"" name:"client-id" help:"The client_id, as client list shows it."`
	sure
}

// Help is the long help of "tutela client remove".
func (clientRemoveCmd) Help() string {
	return `What the program has in its hands opens nothing from then on: its secret, its tokens, the logins that it has begun.

  tutela client remove aOPa0RVkwcvcYtrEmMPPXSqpbi4MX3km`
}

// Run removes the client.
func (c *clientRemoveCmd) Run(ctx context.Context) error {
	if err := c.needsSomebody("removing a client", ""); err != nil {
		return err
	}
	return c.operate(ctx, installation{}, func(s operator.Service) error {
		found, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		if !c.Yes {
			fmt.Fprintf(os.Stderr, "%s (%s), added %s, with the scopes: %s\n", plain(found.Name), found.ID, shortTime(found.Created),
				strings.Join(found.Scopes, " "))
		}
		if err := c.ask("the client's name", found.Name, "nothing was removed"); err != nil {
			return err
		}
		if _, err := operator.RemoveClient.Do(ctx, s, c.ID); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "Removed client %s (%s). Its tokens open nothing any more.\n", plain(found.Name), found.ID)
		return nil
	})
}

// find returns the client that is to go. Who types a client's name is told its id: several may have one name.
func (c *clientRemoveCmd) find(ctx context.Context, s operator.Service) (operator.ListedClient, error) {
	clients, err := operator.ListClients.Do(ctx, s, operator.None{})
	if err != nil {
		return operator.ListedClient{}, err
	}
	hint := "see tutela client list"
	for _, client := range clients {
		if client.ID == c.ID {
			return client, nil
		}
		if client.Name == c.ID {
			hint = "that is the name of " + client.ID
		}
	}
	return operator.ListedClient{}, access.ErrNoClient.With("there is no client with the id %q: %s", c.ID, hint)
}
