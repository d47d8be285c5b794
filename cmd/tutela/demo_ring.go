package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ringer is the process of maria's phone that waits for pushes.
type ringer struct {
	cmd   *exec.Cmd
	lines chan string // of its screen; closed when it ends
}

// mayRing is how long the story waits for the phone to ring before it says that it does not.
const mayRing = 30 * time.Second

// turnsOn starts the process of maria's phone that waits for pushes, and returns when the server knows where to send them.
func (s *story) turnsOn(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, s.self, "phone", "--phone", filepath.Join(s.dir, "phone"), "ring") //nolint:gosec // this program
	cmd.Dir = s.dir
	cmd.Env = cleanEnvironment()
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the phone: %w", err)
	}
	s.ringer = &ringer{cmd: cmd, lines: make(chan string, 1024)}
	lines := s.ringer.lines
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(stdout); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	_, err = s.untilLine("This phone rings now", "This phone rings now")
	return err
}

// rings waits until a login rings maria's phone, and returns its screen.
func (s *story) rings() (screen string, err error) {
	return s.untilLine("Is this you", "tutela phone deny")
}

// untilLine reads the phone's screen from the line that holds first to the one that holds last.
func (s *story) untilLine(first, last string) (screen string, err error) {
	over := time.After(mayRing)
	for {
		select {
		case line, ok := <-s.ringer.lines:
			if !ok {
				return screen, s.check(false, "the phone waits for pushes")
			}
			if screen == "" && !strings.Contains(line, first) {
				continue // a notice, which asks nothing
			}
			screen += line + "\n"
			if strings.Contains(line, last) {
				return screen, s.check(true, "")
			}
		case <-over:
			return screen, s.check(false, "the phone rings")
		}
	}
}

// turnsOff ends that process.
func (s *story) turnsOff() error {
	if s.ringer == nil {
		return nil
	}
	cmd := s.ringer.cmd
	s.ringer = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the phone: %w", err)
	}
	return cmd.Wait()
}
