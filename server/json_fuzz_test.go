package server

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// Of what the decoder takes, exactly that is refused which nests too deep or has a member twice, or is no Unicode text.
func FuzzUnmarshal(f *testing.F) {
	f.Add(`{"a":[1,"]}",{"b":"\"[["}]}`)
	f.Add(`[[[`)
	f.Add(`{"dry_run":true,"Dry_Run":false}`)
	f.Add(`{"a":{"k":1,"\u212a":2},"b\"":{}}`)
	f.Add(`{"a":{"b":1},"B":["a",{"a":"b","b":"a"}],"\"":"\\"}`)
	f.Add(`{` + strings.Repeat(`"":{`, 70))
	f.Add(`{"1":1,"2":1,"3":1,"4":1,"5":1,"6":1,"7":1,"8":1,"9":1,"10":1,"11":1,"12":1,"13":1,"14":1,"15":1,"16":1,"17":{"1":1},"18":1,"1":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var into any
		err := Unmarshal([]byte(text), &into)
		if !isUnicode([]byte(text)) {
			if !errors.Is(err, errNoText) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		text = strings.TrimPrefix(text, "\ufeff")
		valid := json.Unmarshal([]byte(text), new(any)) == nil
		switch deepest, twice := look(text); {
		case !valid && err == nil:
			t.Errorf("%q is taken", text)
		case valid && (err != nil) != (twice || deepest > maxDepth):
			t.Errorf("%q nests %d deep, twice %t: %v", text, deepest, twice, err)
		}
	})
}

// look is how deep a text nests, and whether an object in it has two names that differ in case alone.
func look(text string) (deepest int, twice bool) {
	type object struct {
		names  []string
		isName bool // the next token is a name; only of objects
		array  bool
	}
	var open []object
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) || err != nil {
			return deepest, twice
		}
		if n := len(open); n > 0 && !open[n-1].array {
			top := &open[n-1]
			if name, ok := token.(string); ok && top.isName {
				for _, other := range top.names {
					twice = twice || strings.EqualFold(name, other)
				}
				top.names = append(top.names, name)
				top.isName = false
				continue
			}
			top.isName = true
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			open = append(open, object{isName: true, array: token == json.Delim('[')})
			deepest = max(deepest, len(open))
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
	}
}
