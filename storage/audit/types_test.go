package audit_test

import (
	"os"
	"regexp"
	"testing"

	"tutela/storage/audit"
)

// Types is written by hand beside the constants: each that is declared stands in it.
func TestTypes_AreAllThatAreDeclared(t *testing.T) {
	source, err := os.ReadFile("audit.go")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)Type += "([a-z_]+)"$`).FindAllStringSubmatch(string(source), -1)
	for _, found := range declared {
		if !audit.IsType(audit.Type(found[1])) {
			t.Errorf("Types lacks %s", found[1])
		}
	}
	if len(declared) != len(audit.Types()) {
		t.Errorf("%d are declared, and Types has %d", len(declared), len(audit.Types()))
	}
	if audit.IsType("nonsense") {
		t.Error("nonsense is a type")
	}
}
