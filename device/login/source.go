package login

import (
	"strings"

	"tutela/device/push"
)

// browsers are looked for in this order: most name others in their user agent, for old pages' sake.
var browsers = []struct{ token, name, version string }{
	{"Edg/", "Edge", "Edg/"},
	{"EdgA/", "Edge", "EdgA/"},
	{"EdgiOS/", "Edge", "EdgiOS/"},
	{"OPR/", "Opera", "OPR/"},
	{"SamsungBrowser/", "Samsung Internet", "SamsungBrowser/"},
	{"Firefox/", "Firefox", "Firefox/"},
	{"FxiOS/", "Firefox", "FxiOS/"},
	{"CriOS/", "Chrome", "CriOS/"},
	{"Chrome/", "Chrome", "Chrome/"},
	{"Safari/", "Safari", "Version/"},
}

var systems = []struct{ token, name, version string }{
	{"Windows NT", "Windows", ""}, // its number has said nothing since 10
	{"Android", "Android", "Android "},
	{"iPhone OS", "iOS", "iPhone OS "},
	{"iPad", "iPadOS", "CPU OS "},
	{"CrOS", "ChromeOS", ""},
	{"Mac OS X", "macOS", ""}, // frozen at 10_15_7
	{"Linux", "Linux", ""},
}

// source is what a user agent says of browser and system, as a phone shows it; nil when it says nothing known.
func source(agent string) *push.Source {
	s := &push.Source{}
	for _, b := range browsers {
		if strings.Contains(agent, b.token) {
			s.Browser = push.Named{Name: b.name, Version: majorAfter(agent, b.version)}
			break
		}
	}
	for _, o := range systems {
		if strings.Contains(agent, o.token) {
			s.System = push.Named{Name: o.name, Version: majorAfter(agent, o.version)}
			break
		}
	}
	if s.Browser.Name == "" && s.System.Name == "" {
		return nil
	}
	return s
}

// majorAfter is the whole number that follows token in agent.
func majorAfter(agent, token string) string {
	_, rest, found := strings.Cut(agent, token)
	if token == "" || !found {
		return ""
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return rest
	}
	return rest[:end]
}
