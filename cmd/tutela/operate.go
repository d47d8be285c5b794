package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"
	"unicode"

	"tutela/server/operator"
	"tutela/storage/bolt"
	"tutela/storage/legible"
)

// A server that starts or stops holds the data file and does not answer on its socket. A command waits for it up to
// inUseWait.
const (
	inUseWait  = 5 * time.Second
	inUseRetry = 100 * time.Millisecond
)

// sudoUser is the environment variable in which sudo names who has called it. Source: sudo(8), ENVIRONMENT.
const sudoUser = "SUDO_USER"

// installation says how a command works on an installation when no server runs there.
type installation struct {
	publicURL string // printed in links
	name      string // the organisation's, in QR codes

	webhookAllow []netip.Prefix
}

// operate runs do with the operator's calls on the installation in the data folder: in the server that runs there or,
// when none does, in this process. The lock of the data file keeps everybody else off meanwhile.
func (f dataFlags) operate(ctx context.Context, i installation, do func(operator.Service) error) error {
	if info, err := os.Stat(f.Data.path); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder: give the server's folder by --data", f.Data)
	}
	deadline := time.NewTimer(inUseWait)
	defer deadline.Stop()
	for {
		err := f.operateThere(ctx, do)
		if !errors.Is(err, operator.ErrNobodyServes) {
			return err
		}
		err = f.operateHere(ctx, i, do)
		if !errors.Is(err, bolt.ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-deadline.C:
			return fmt.Errorf("%w, and nobody answers on %s: if that is a server that starts or stops, try again", err, f.socket())
		case <-time.After(inUseRetry):
		}
	}
}

// operateThere calls the server that runs on the data folder.
//
// Errors: operator.ErrNobodyServes, when none does.
func (f dataFlags) operateThere(ctx context.Context, do func(operator.Service) error) error {
	client, err := operator.Dial(ctx, f.socket())
	if err != nil {
		return err
	}
	client.BySudo(os.Getenv(sudoUser))
	defer client.Close()
	return do(client)
}

// operateHere opens the data file in this process and runs do on it.
//
// Errors: errNoInstallation; those of openHouse.
func (f dataFlags) operateHere(ctx context.Context, i installation, do func(operator.Service) error) error {
	h, err := openHouse(ctx, f.quietly(i))
	if err != nil {
		return err
	}
	return errors.Join(do(operator.NewLocal(h.operators(), os.Getuid()).BySudo(os.Getenv(sudoUser))), h.Close())
}

// quietly returns the options with which a command opens an installation. Its engine logs errors alone: a warning,
// such as that of a slow transaction, matters to a server whose callers wait.
func (f dataFlags) quietly(i installation) houseOptions {
	return houseOptions{
		dataFlags:    f,
		PublicURLs:   []string{cmp.Or(i.publicURL, localServer)},
		Issuer:       cmp.Or(i.name, "tutela"),
		WebhookAllow: i.webhookAllow,
		Log:          logAt(slog.LevelWarn),
		EngineLog:    logAt(slog.LevelError),
	}
}

// logAt returns a log to standard error, from level up.
func logAt(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
}

// operators returns the services that the operator's calls use.
func (h *house) operators() operator.Services {
	return operator.Services{
		Access:  h.access,
		Admins:  h.admins,
		Codes:   h.codes,
		Devices: h.devices,
		SignIn:  h.signin,
		Tally:   h.tally,
		Store:   h.store,

		Webhooks: h.hooks,
		Signals:  h.signals,
	}
}

// printJSON prints a value for scripts.
func printJSON(value any) error {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// say writes words for people. It ignores the error of w: a later flush or close returns it, if anything does.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// plain is the one way in which text from outside gets into a line that states facts: see [legible.Quote].
func plain(text string) string { return legible.Quote(text) }

// shortTime formats a time for a table, in the zone of this machine; "-" when it is not known.
func shortTime(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Local().Format("2006-01-02 15:04")
}

// orDash returns text for a table, as plain does; "-" for none.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return plain(text)
}

// shellWord quotes text as one word of a shell, for a command that we print.
func shellWord(text string) string {
	isPlain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("@%+=:,./_-", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !isPlain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
