package server_test

import (
	"fmt"
	"strings"
	"testing"

	"tutela/server"
)

func TestUnmarshal_NamesThatDifferInCaseAloneAreRefusedAtAnyDepth(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	var many strings.Builder
	for i := range 40 {
		fmt.Fprintf(&many, `"m%d":{"name":1},`, i)
	}
	for name, body := range map[string]string{
		"the same":             `{"name":"n","name":"n"}`,
		"another case":         `{"name":"n","Name":"n"}`,
		"in escapes":           `{"name":"n","n\u0061me":"n"}`,
		"by the Kelvin sign":   `{"name":"n","x":{"k":1,"\u212a":2}}`,
		"by the long s":        `{"name":"n","x":{"\u017f":1,"s":2}}`,
		"inside of arrays":     `{"name":"n","x":[[{"y":1,"a":{"b":1},"Y":2}]]}`,
		"after an object":      `{"x":{"a":1},"name":"n","X":1}`,
		"among many, early":    `{` + many.String() + `"name":"n","M0":1}`,
		"among many, late":     `{` + many.String() + `"name":"n","M39":1}`,
		"in a string of quote": `{"a\"":1,"name":"n","A\"":1}`,
	} {
		for _, at := range []string{"/api/things/1", "/mfa/things/1"} {
			if got := r.ask("POST", at, body); got.status != 400 || !strings.Contains(got.body, "a member is there twice") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
	for name, body := range map[string]string{
		"in several objects":  `{"name":"n","x":[{"a":1},{"A":1}],"y":{"name":{"NAME":1}}}`,
		"in the values":       `{"name":"n","x":"name","y":["x","X"]}`,
		"many of many":        `{` + many.String() + `"x":{` + many.String() + `"y":1},"name":"n"}`,
		"close to each other": `{"name":"n","ss":1,"\u00df":1,"":1," ":1}`,
		"many open at once":   strings.Repeat(`{"a":1,"b":1,"c":1,"d":1,"name":"n","x":`, 60) + `1` + strings.Repeat(`}`, 60),
	} {
		if got := r.ask("POST", "/api/things/1", body); got.status != 200 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestUnmarshal_PassesOverAByteOrderMark(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	if got := r.ask("POST", "/api/things/1", "\ufeff"+`{"name":"n"}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := r.ask("POST", "/api/things/1", "\ufeff\ufeff"+`{"name":"n"}`); got.status != 400 {
		t.Errorf("two: %d %s", got.status, got.body)
	}
}

func TestUnmarshal_ErrorsNameNoValue(t *testing.T) {
	r := start(t, server.Config{}, mountThings)
	for _, body := range []string{
		`{"name":"n","size":4711e300}`, `{"name":"n","size":4711471147114711471147114711}`, `{"name":"n","size":4711.4711}`,
		`4711`, `{"name":4711}`, `{"name":"n" 4711}`, `{"name":"n"}4711`, `{4711}`, `{"name":"4711\x"}`, `"4711`,
	} {
		if got := r.ask("POST", "/api/things/1", body); got.status != 400 || strings.Contains(got.body, "471") {
			t.Errorf("%s: %d %s", body, got.status, got.body)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	body := []byte(`{"challenge_response":"` + strings.Repeat("x", 800) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		var into struct {
			Response string `json:"challenge_response"`
		}
		if err := server.Unmarshal(body, &into); err != nil {
			b.Fatal(err)
		}
	}
}
