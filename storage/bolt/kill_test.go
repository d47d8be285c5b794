package bolt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"tutela/storage"
)

const killWriters = 8

// TestEngine_LosesNothingAcknowledgedWhenKilled kills a process that writes, again and again, on the same file.
func TestEngine_LosesNothingAcknowledgedWhenKilled(t *testing.T) {
	if path := os.Getenv("TUTELA_TEST_KILL"); path != "" {
		writeUntilKilled(path, os.Getenv("TUTELA_TEST_LIE") != "")
	}
	if testing.Short() {
		t.Skip("kills a writer again and again: run it without -short")
	}
	path := newPath(t)
	for round := range 10 {
		acknowledged := killRound(t, path, false)
		lost, torn := missingRows(t, path, acknowledged)
		if len(lost) > 0 || torn > 0 || sum(acknowledged) == 0 {
			t.Fatalf("round %d: lost %v, torn %d, of %v", round, lost, torn, acknowledged)
		}
	}
}

// TestKill_CatchesAnAcknowledgementBeforeTheCommit is the control: the same check of a writer that lies.
func TestKill_CatchesAnAcknowledgementBeforeTheCommit(t *testing.T) {
	for range 50 {
		path := newPath(t)
		acknowledged := killRound(t, path, true)
		if lost, _ := missingRows(t, path, acknowledged); len(lost) > 0 {
			return
		}
	}
	t.Error("a writer that acknowledges before its commit was not caught in 50 rounds")
}

// killRound runs a writing process, kills it after some acknowledgements, and returns how many of each writer's rows
// were acknowledged.
func killRound(t *testing.T, path string, lie bool) []int {
	cmd := exec.Command(os.Args[0], "-test.run=^TestEngine_LosesNothingAcknowledgedWhenKilled$")
	cmd.Env = append(os.Environ(), "TUTELA_TEST_KILL="+path)
	if lie {
		cmd.Env = append(cmd.Env, "TUTELA_TEST_LIE=1")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	acknowledged := make([]int, killWriters)
	lines := bufio.NewReader(out)
	for left := 1 + rand.IntN(2000); ; left-- {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		var writer, n int
		if _, err := fmt.Sscanf(line, "%d %d\n", &writer, &n); err != nil {
			t.Fatalf("the writer says %q: %v; %s", line, err, &stderr)
		}
		acknowledged[writer] = max(acknowledged[writer], n)
		if left == 0 {
			must(t, cmd.Process.Kill())
		}
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("the writer was to be killed: %v; %s", err, &stderr)
	}
	return acknowledged
}

// writeUntilKilled writes rows 1, 2, 3 … of each writer, two keys each, and prints each when it is acknowledged; or,
// to lie, before it is written.
func writeUntilKilled(path string, lie bool) {
	e, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var all sync.WaitGroup
	for w := range killWriters {
		all.Go(func() {
			for {
				n := 0
				err := e.Update(context.Background(), func(r storage.Reader) (*storage.WriteSet, error) {
					ws := storage.NewWriteSet()
					last, err := r.Get(fmt.Appendf(nil, "last/%d", w))
					n, _ = strconv.Atoi(string(last))
					n++
					ws.Put(fmt.Appendf(nil, "last/%d", w), []byte(strconv.Itoa(n)))
					ws.Put(fmt.Appendf(nil, "%d/%d", w, n), bytes.Repeat([]byte{byte(n)}, 500))
					if lie {
						fmt.Printf("%d %d\n", w, n)
					}
					return ws, err
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				if !lie {
					fmt.Printf("%d %d\n", w, n)
				}
			}
		})
	}
	all.Wait()
}

// missingRows opens the file after the kill, and tells which acknowledged rows are not there and how many
// transactions are there in part.
func missingRows(t *testing.T, path string, acknowledged []int) (lost []string, torn int) {
	e := open(t, path, Options{})
	rows := content(t, e)
	must(t, e.Close())
	for w, n := range acknowledged {
		last, _ := strconv.Atoi(rows[fmt.Sprintf("last/%d", w)])
		for i := 1; i <= max(n, last); i++ {
			row, there := rows[fmt.Sprintf("%d/%d", w, i)]
			if !there && i <= n {
				lost = append(lost, fmt.Sprintf("%d/%d", w, i))
			}
			if there != (i <= last) || there && row != strings.Repeat(string([]byte{byte(i)}), 500) {
				torn++
			}
		}
	}
	return lost, torn
}

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}
