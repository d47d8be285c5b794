//go:build profile

package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"
)

// A program built with -tags profile writes profiles of itself to the folder TUTELA_PROFILE: the first SIGUSR1 begins a
// profile of its CPU and the second ends it; SIGUSR2 writes what lies on the heap. BenchmarkLimits sends the signals. The
// program that people run has none of this.
func init() {
	folder := os.Getenv("TUTELA_PROFILE")
	if folder == "" {
		return
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	go func() {
		for {
			err := profileOnce(folder, signals)
			if err != nil {
				fmt.Fprintln(os.Stderr, "profile:", err)
			}
		}
	}()
}

// profileOnce writes what the next signal asks for. A file appears under its name when it is whole.
func profileOnce(folder string, signals <-chan os.Signal) error {
	if <-signals == syscall.SIGUSR2 {
		found := writeWhole(filepath.Join(folder, "memory"), writeMemory)
		runtime.GC() // the heap's profile is as of the last collection
		return errors.Join(found,
			writeWhole(filepath.Join(folder, "collected.memory"), writeMemory),
			writeWhole(filepath.Join(folder, "heap"), func(f *os.File) error { return pprof.Lookup("heap").WriteTo(f, 0) }))
	}
	return writeWhole(filepath.Join(folder, "cpu"), func(f *os.File) error {
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		<-signals
		pprof.StopCPUProfile()
		return nil
	})
}

// writeMemory writes what the runtime holds, by what it is for, in KiB.
func writeMemory(f *os.File) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, err := fmt.Fprintf(f, "heap: %d live or not yet collected, %d in use, %d idle, %d given back\nstacks: %d\nother: %d\ncollections: %d, the next at %d\n",
		m.HeapAlloc>>10, m.HeapInuse>>10, m.HeapIdle>>10, m.HeapReleased>>10, m.StackInuse>>10,
		(m.MSpanInuse+m.MCacheInuse+m.BuckHashSys+m.GCSys+m.OtherSys)>>10, m.NumGC, m.NextGC>>10)
	return err
}

func writeWhole(path string, write func(*os.File) error) error {
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}
