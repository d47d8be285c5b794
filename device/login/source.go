package login

import (
	"strings"

	"tutela/device/push"
)

// browsers lists browsers in the order in which source looks for them: most also name others in their user agent, for old pages.
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

// source returns the browser and the system that a user agent names, as a phone shows them; nil when both are unknown.
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

// majorAfter returns the whole number that follows token in agent.
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
