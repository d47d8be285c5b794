package main

import (
	"encoding/json"
	"strings"
	"testing"

	"tutela/recovery/admin"
)

func TestStats_ShowsTheDaysInNumbersAlsoWhatWasCountedJustNow(t *testing.T) {
	withAndWithoutServer(t, func(t *testing.T, c *commandLine) {
		c.run("ticket", "maria")
		c.run("user", "reset", "maria", "--reason", "lost", "--yes")
		var days []admin.DayStats
		must(t, json.Unmarshal([]byte(c.run("stats", "--json")), &days))
		if len(days) == 0 || days[len(days)-1].Resets != 1 {
			t.Fatalf("%+v", days)
		}
		if shown := c.run("stats", "--days", "3"); !strings.Contains(shown, "RESTORED") || !strings.Contains(shown, days[0].Date) {
			t.Errorf("%s", shown)
		}
		c.try("stats", "--days", "0").notUnderstood("--days 0: it is a number of days, from 1")
	})
}
