package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// sure is the flag of the commands that ask before they do what cannot be taken back.
type sure struct {
	Yes bool `help:"Do not ask. Needed where there is nobody to ask."`
}

// needsSomebody returns an error when the command would have to ask and there is nobody at the keyboard. instead names
// what else can be given than --yes; empty for nothing.
func (s sure) needsSomebody(what, instead string) error {
	if s.Yes || term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	return notUnderstood("%s cannot be taken back, and nobody is there to ask: give --yes%s", what, instead)
}

// ask makes a person type a word before something is done that cannot be taken back, so that a slip of the finger does
// nothing. With --yes it asks nobody. word says what the word is; undone, what then was not done.
func (s sure) ask(word, wanted, undone string) error {
	if s.Yes {
		return nil
	}
	return confirm(os.Stdin, os.Stderr, word, wanted, undone)
}

func confirm(in io.Reader, out io.Writer, word, wanted, undone string) error {
	say(out, "This cannot be taken back. Type %s to go on: ", word)
	typed, err := bufio.NewReader(in).ReadString('\n')
	if (err != nil && !errors.Is(err, io.EOF)) || strings.TrimSpace(typed) != wanted {
		return errors.New("that is not " + word + ": " + undone)
	}
	return nil
}
