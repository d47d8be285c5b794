package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"
)

// Spool is the push service for development: each message becomes a JSON file in a folder, and a line in the log. A file
// is whole when it appears. Safe for concurrent use.
type Spool struct {
	dir string
	log *slog.Logger
	n   atomic.Uint64
}

// NewSpool returns a spool in a folder. The first message makes the folder, mode 0700.
func NewSpool(dir string, log *slog.Logger) *Spool { return &Spool{dir: dir, log: log} }

// Deliver writes the message as one JSON object, with the keys that the service would carry and the key "service".
func (s *Spool) Deliver(_ context.Context, to Address, m Message) error {
	content, err := spoolContent(to, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the push folder: %w", err)
	}
	name := fmt.Sprintf("%019d-%06d.json", time.Now().UnixNano(), s.n.Add(1))
	if err := writeThenRename(filepath.Join(s.dir, name), content); err != nil {
		return fmt.Errorf("spool a push message: %w", err)
	}
	s.log.Info("push", "file", name, "service", to.Service, "enrollment", m.Enrollment, "notice", m.Notice)
	return nil
}

func spoolContent(to Address, m Message) ([]byte, error) {
	object := m.Object()
	if to.Service != APNs {
		flat, err := m.Strings()
		if err != nil {
			return nil, err
		}
		for key, value := range flat {
			object[key] = value
		}
	}
	object["service"] = to.Service
	return json.MarshalIndent(object, "", "  ")
}

// writeThenRename makes a file appear whole. It does not sync: when a crash takes a message, its outbox entry is still
// there and the message is sent again.
func writeThenRename(path string, content []byte) error {
	part := path + ".part"
	err := os.WriteFile(part, content, 0o600)
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part))
	}
	return nil
}
