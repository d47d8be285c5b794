package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/alecthomas/kong"

	"tutela/server/operator"
)

// usageError reports something typed that cannot be run, whatever the state of the installation.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// notUnderstood makes a usageError.
func notUnderstood(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus returns the status to end with after an error: statusUsage when what was typed cannot be run.
func exitStatus(err error) int {
	var usage usageError
	var input *operator.InputError
	if errors.As(err, &usage) || errors.As(err, &input) {
		return statusUsage
	}
	return statusFailed
}

// file is a file on the command line, as it was typed; ~ is the home folder.
type file string

// UnmarshalText takes the name of a file.
func (f *file) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return errors.New("it names no file")
	}
	*f = file(text)
	if strings.HasPrefix(string(text), "~") {
		*f = file(kong.ExpandPath(string(text)))
	}
	return nil
}

// logLevel is a level of the log on the command line.
type logLevel struct{ slog.Level }

// UnmarshalText takes one of four words, in any case.
func (l *logLevel) UnmarshalText(text []byte) error {
	switch strings.ToLower(string(text)) {
	case "debug", "info", "warn", "error":
		return l.Level.UnmarshalText(text)
	}
	return fmt.Errorf("%q is none of debug, info, warn, error", text)
}
