// Command with runs a command, such as go test, beside a PostgreSQL that lives as long as it does:
//
//	go run ./storage/storagetest/pgtest/with go test ./device/...
//
// The command finds it by the variable TUTELA_TEST_POSTGRES.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"tutela/storage/storagetest/pgtest"
)

func main() {
	code, err := with(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// with returns the exit code of the command.
func with(ctx context.Context, args []string) (code int, err error) {
	if len(args) == 0 {
		return 2, errors.New("usage: with COMMAND [ARGUMENT…]")
	}
	c, err := pgtest.New(pgtest.Options{})
	if errors.Is(err, pgtest.ErrMissing) && os.Getenv("CI") == "" {
		return 0, fmt.Errorf("%w; nothing was run", err)
	}
	if err != nil {
		return 1, err
	}
	defer c.Kill()
	run := exec.CommandContext(ctx, args[0], args[1:]...)
	run.Stdin = os.Stdin
	run.Stdout = os.Stdout
	run.Stderr = os.Stderr
	run.Env = append(os.Environ(), pgtest.Variable+"="+c.URL())
	var ended *exec.ExitError
	if err := run.Run(); errors.As(err, &ended) {
		return ended.ExitCode(), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}
