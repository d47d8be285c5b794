package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tutela/storage"
)

// Status is the state of a sender.
type Status struct {
	Destinations []DestinationStatus // those in use or in trouble, by name
	Providers    []ProviderStatus    // the services and hosts behind them, by name
	Aside        int                 // entries that could not be read, and lie aside
}

// Status returns the state of the sender.
//
// Errors: those of the store.
func (s *Sender) Status(ctx context.Context) (Status, error) {
	aside, err := countAside(ctx, s.store)
	now := s.store.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{
		Destinations: s.roster.status(now),
		Providers:    s.roster.providerStatus(now),
		Aside:        aside,
	}, err
}

// ErrTrouble reports trouble of the outbox that a person should know of. The server works on.
var ErrTrouble = storage.NewError(storage.Unavailable, "the outbox is in trouble")

// mostNamed bounds the providers that Trouble names.
const mostNamed = 8

// Trouble returns ErrTrouble with what a person should know: which services do not answer, since when and with which
// word of theirs, and how many entries lie aside. It returns nil when all is well. Anybody may read the message, so it
// holds nothing of an entry. A provider whose name has a slash is one of many hosts, chosen by persons and named by a
// hash. Of those it gives only the number, since a hash can be compared with that of a guessed host.
//
// Errors: ErrTrouble; those of the store.
func (s *Sender) Trouble(ctx context.Context) error {
	status, err := s.Status(ctx)
	if err != nil {
		return err
	}
	var troubles []string
	away := 0
	hosts := make(map[string]int) // by the service that they speak
	for _, p := range status.Providers {
		if p.State == Closed {
			continue
		}
		if service, _, isHost := strings.Cut(p.Name, "/"); isHost {
			hosts[service]++
			continue
		}
		away++
		if away <= mostNamed {
			troubles = append(troubles, p.trouble())
		}
	}
	if away > mostNamed {
		troubles = append(troubles, fmt.Sprintf("others that do not answer: %d", away-mostNamed))
	}
	for _, service := range slices.Sorted(maps.Keys(hosts)) {
		troubles = append(troubles, fmt.Sprintf("hosts of %s that take nothing: %d", service, hosts[service]))
	}
	if status.Aside > 0 {
		troubles = append(troubles, fmt.Sprintf("entries that cannot be read: %d", status.Aside))
	}
	if troubles == nil {
		return nil
	}
	return ErrTrouble.With("%s", strings.Join(troubles, "; "))
}

// trouble describes the provider's trouble for people.
func (p ProviderStatus) trouble() string {
	word := ""
	if p.Word != "" {
		word = ", " + p.Word
	}
	return fmt.Sprintf("%s takes nothing: %s since %s%s", p.Name, p.State, storage.FormatInstant(p.Since), word)
}
