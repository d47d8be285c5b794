package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"tutela/storage/legible"
)

// requestCmd is "tutela request".
type requestCmd struct {
	ID    string   `arg:"" name:"reference" help:"The reference that a page shows, or the request id of an answer. Case, blanks and dashes do not matter."`
	Files []string `arg:"" optional:"" name:"file" help:"Files of the log, also compressed by gzip; - or none is standard input."`
}

// Help is the long help of "tutela request".
func (requestCmd) Help() string {
	return `Prints the lines of the log about a request. A person who was shown an error page reads its reference out; programs find the
request id in the answer's X-Request-Id and in the message of a 500. Exit status 1: no line names it.

  tutela request "L6Dr Np2A ukIk" /var/log/tutela.log /var/log/tutela.log.1.gz
  journalctl -u tutela -o cat --since -2d | tutela request L6DrNp2AukIk`
}

// fewestReference is how many characters of a reference must be given: fewer name many requests.
const fewestReference = 8

// Run prints the lines.
func (c *requestCmd) Run() error {
	reference := strings.ToLower(strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, c.ID))
	if len(reference) < fewestReference || strings.Trim(reference, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		return notUnderstood("%q is not a reference: it is at least %d letters and digits", c.ID, fewestReference)
	}
	files := c.Files
	if len(files) == 0 {
		files = []string{"-"}
		if term.IsTerminal(int(os.Stdin.Fd())) {
			return notUnderstood("give the files of the log, or pipe it: journalctl -u tutela -o cat | tutela request %s", reference)
		}
	}
	found := 0
	for _, name := range files {
		n, err := findRequest(os.Stdout, name, reference)
		if err != nil {
			return err
		}
		found += n
	}
	if found == 0 {
		return fmt.Errorf("no line names a request that begins with %s: see that the log goes back to when it was, and is of this server", reference)
	}
	return nil
}

// findRequest writes the lines of a file that name the request, and returns how many they are.
func findRequest(w io.Writer, name, reference string) (found int, err error) {
	in := io.Reader(os.Stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	lines := bufio.NewReader(in)
	if head, _ := lines.Peek(2); string(head) == "\x1f\x8b" { // RFC 1952 §2.3.1
		unpacked, err := gzip.NewReader(lines)
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", name, err)
		}
		lines = bufio.NewReader(unpacked)
	}
	for {
		line, err := lines.ReadString('\n')
		folded := strings.ToLower(line) // a reference that was read out has lost its case
		if strings.Contains(folded, "request="+reference) || strings.Contains(folded, `"request":"`+reference) {
			found++
			say(w, "%s\n", legible.Escape(strings.TrimRight(line, "\r\n")))
		}
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("read %s: %w", name, err)
		}
	}
}
