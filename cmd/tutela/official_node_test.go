package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// nodeStep is a line that the driver of npm auth0 prints.
type nodeStep struct {
	Name   string `json:"name"`
	Call   string `json:"call"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Fault  string `json:"fault"`
}

// npmModules installs the packages of a folder of testdata, as they are, beside what the folder holds.
func npmModules(t *testing.T, name string) string {
	t.Helper()
	folder := t.TempDir()
	must(t, os.CopyFS(folder, os.DirFS(filepath.Join("testdata", name))))
	npm := example{t: t, program: []string{"npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"}, folder: folder}
	if output, err := npm.run(); err != nil && os.Getenv("CI") == "" {
		t.Skipf("npm does not bring what testdata/%s names: %v\n%s", name, err, output)
	} else if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return folder
}

// idsInPaths are the ids that the driver puts into paths.
var idsInPaths = regexp.MustCompile(`/(auth0%7Cada%2F1|maria|dev_[A-Za-z0-9]{16}|totp%7Cdev_[A-Za-z0-9]{16}|[0-9]{25})(/|$)`)

// The official Node client, unmodified and over TLS, makes every call that it offers about Guardian, enrolments, authentication methods,
// recovery codes and users.
func TestBookMigration_NodeClientDrivesTheManagementAPI(t *testing.T) {
	if testing.Short() {
		t.Skip("installs an npm package: run it without -short")
	}
	folder := npmModules(t, "management")
	m := mountTLS(t)
	run := exec.CommandContext(t.Context(), node(t), filepath.Join(folder, "driver.js"))
	run.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+m.tls.certFile, "DOMAIN="+m.domain(), "CLIENT_ID="+m.client.id,
		"CLIENT_SECRET="+m.client.secret, "ENROLLMENT="+m.phone.Enrollment().ID)
	run.Stderr = os.Stderr
	printed, err := run.Output()
	must(t, err)
	var ran []official
	for lines := bufio.NewScanner(bytes.NewReader(printed)); lines.Scan(); {
		var s nodeStep
		must(t, json.Unmarshal(lines.Bytes(), &s))
		if s.Fault != "" {
			t.Errorf("%s: %s", s.Name, s.Fault)
		}
		one := official{name: s.Name, call: idsInPaths.ReplaceAllString(s.Call, "/{id}$2"), result: fmt.Sprint(s.Status)}
		one.call = idsInPaths.ReplaceAllString(one.call, "/{id}$2") // two ids that follow one another share a slash
		if s.Code != "" {
			one.result += " `" + s.Code + "`"
		}
		ran = append(ran, one)
	}
	compareWithPage(t, "npm auth0 7.1.0", ran)
}
