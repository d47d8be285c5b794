package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// profileVariable names the folder to which the server under BenchmarkLimits writes profiles of itself (profile.go).
const profileVariable = "TUTELA_BENCH_PROFILE"

// buildTags returns the build tags of the live server's binary.
func buildTags() string {
	if os.Getenv(profileVariable) != "" {
		return "profile"
	}
	return ""
}

// profile tells the server, which is not started yet, where its profiles go.
func (s *limitsBench) profile(b *testing.B) {
	b.Helper()
	folder := os.Getenv(profileVariable)
	if folder == "" {
		return
	}
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = os.MkdirAll(folder, 0o700)
	}
	if err != nil {
		b.Fatal(err)
	}
	s.profiles = folder
	s.environment = append(s.environment, "TUTELA_PROFILE="+folder)
}

// profiled runs measure. When profiles are wanted, the server writes a profile of its CPU to NAME.ROUND.cpu
// meanwhile; go tool pprof takes those of all rounds together.
func (s *limitsBench) profiled(b *testing.B, name string, round int, measure func() time.Duration) time.Duration {
	b.Helper()
	if s.profiles == "" {
		return measure()
	}
	s.signal(b, syscall.SIGUSR1)
	defer func() {
		s.signal(b, syscall.SIGUSR1)
		s.take(b, "cpu", fmt.Sprintf("%s.%d", name, round))
	}()
	return measure()
}

// heap makes the server write what its memory holds, before and after a collection, when profiles are wanted.
func (s *limitsBench) heap(b *testing.B, name string) {
	b.Helper()
	if s.profiles == "" {
		return
	}
	s.signal(b, syscall.SIGUSR2)
	for _, kind := range []string{"memory", "collected.memory", "heap"} {
		s.take(b, kind, name)
	}
}

func (s *limitsBench) signal(b *testing.B, signal os.Signal) {
	b.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		b.Fatal(err)
	}
}

// take waits until a profile is whole, and gives it its name.
func (s *limitsBench) take(b *testing.B, kind, name string) {
	b.Helper()
	for {
		err := os.Rename(filepath.Join(s.profiles, kind), filepath.Join(s.profiles, name+"."+kind))
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			b.Fatal(err)
		}
		<-time.After(10 * time.Millisecond) // another process writes it
	}
}
