package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// BenchmarkManagement measures the reads, searches and lists of the Management API among so many users, by one caller over
// HTTP on loopback, with other users each time. Reported are milliseconds: the middle, and the 99th of a hundred.
//
//	TUTELA_USERS=10000,1000000 go test ./cmd/tutela -run '^$' -bench Management -benchtime 2000x -timeout 60m
func BenchmarkManagement(b *testing.B) {
	onEachCrowd(b, func(b *testing.B, c *crowd) {
		for _, read := range managementReads {
			b.Run(read.name, func(b *testing.B) {
				c.measure(b, func(i int) *http.Request {
					r := c.get(b, c.public+"/api/v2"+read.path(i))
					r.Header.Set("Authorization", "Bearer "+c.token)
					return r
				})
			})
		}
	})
}

// managementRead is a call that is measured.
type managementRead struct {
	name string
	path func(i int) string // of a call about the user with number i
}

// managementReads are the calls, the dearest of each kind among them.
var managementReads = []managementRead{
	{"user", func(i int) string { return "/users/" + escapedCrowdID(i) }},
	{"enrollments", func(i int) string { return "/users/" + escapedCrowdID(i) + "/enrollments" }},
	{"methods", func(i int) string { return "/users/" + escapedCrowdID(i) + "/authentication-methods" }},
	{"blocks", func(i int) string { return "/user-blocks/" + escapedCrowdID(i) }},
	{"logs of one", func(i int) string { return "/users/" + escapedCrowdID(i) + "/logs" }},
	{"export", func(i int) string { return "/users/" + escapedCrowdID(i) + "/export" }},
	{"by email", func(i int) string { return "/users-by-email?email=" + url.QueryEscape(crowdEmail(i)) }},
	{"search by email", searchFor(func(i int) string { return `email:"` + crowdEmail(i) + `"` })},
	{"search by a rare beginning", searchFor(func(i int) string { return "email:" + strings.Split(crowdEmail(i), "@")[0] + "*" })},
	{"search by a name of thousands", searchFor(func(i int) string { return `name:"` + crowdName(i) + `"` })},
	{"search by two terms", searchFor(func(i int) string { return `name:` + crowdName(i)[:3] + `* AND email:` + crowdEmail(i)[:4] + `*` })},
	{"search sorted", func(i int) string {
		return searchFor(func(i int) string { return "name:" + crowdName(i)[:2] + "*" })(i) + "&sort=last_login:-1"
	}},
	{"first page", func(int) string { return "/users?per_page=50&include_totals=true" }},
	{"last page", func(int) string { return "/users?per_page=50&page=19&include_totals=true" }},
	{"page by last login", func(i int) string { return fmt.Sprintf("/users?per_page=50&page=%d&sort=last_login:-1", i%20) }},
	{"page from a cursor", func(int) string { return "/users?take=50" }},
	{"recoverability", func(int) string { return "/recoverability" }},
	{"users at risk", func(int) string { return "/recoverability/users?risk=no_recovery_code&take=50" }},
	{"stats", func(int) string { return "/stats" }},
	{"logs", func(i int) string { return fmt.Sprintf("/logs?per_page=50&page=%d", i%20) }},
}

func searchFor(q func(i int) string) func(i int) string {
	return func(i int) string { return "/users?per_page=50&q=" + url.QueryEscape(q(i)) }
}
