package login

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestSource_ReadsUserAgentsOfTheField(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                                 "Chrome 126, Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.2592.87":                               "Edge 126, Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 OPR/112.0.0.0":                                   "Opera 112, Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                                "Firefox 127, Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                                           "Safari 17, macOS",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                           "Chrome 126, macOS",
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0":                                                                                          "Firefox 128, Linux",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36":                                                  "Chrome 126, ChromeOS",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36":                                           "Chrome 126, Android 14",
		"Mozilla/5.0 (Linux; Android 13; SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36":                      "Samsung Internet 25, Android 13",
		"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0":                                                                                            "Firefox 127, Android 14",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 EdgA/126.0.0.0":                                  "Edge 126, Android 10",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1":                       "Safari 17, iOS 17",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1":                  "Chrome 126, iOS 17",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/127.0 Mobile/15E148 Safari/605.1.15":                       "Firefox 127, iOS 17",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 EdgiOS/126.0.2592.56 Mobile/15E148 Safari/605.1.15": "Edge 126, iOS 17",
		"Mozilla/5.0 (iPad; CPU OS 16_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/16.6 Mobile/15E148 Safari/604.1":                                  "Safari 16, iPadOS 16",
		"curl/8.5.0":                   "",
		"":                             "",
		"Chrome/":                      "Chrome",
		"Firefox":                      "",
		strings.Repeat("x", 1<<16):     "",
		"Mozilla/5.0 (Linux; Android)": "Android",
		"\xff\xfe Firefox/\xff":        "Firefox",
	} {
		if got := described(agent); got != want {
			t.Errorf("%.100s: %q, want %q", agent, got, want)
		}
	}
}

func described(agent string) string {
	s := source(agent)
	if s == nil {
		return ""
	}
	var parts []string
	for _, part := range [][2]string{{s.Browser.Name, s.Browser.Version}, {s.System.Name, s.System.Version}} {
		if part[0] != "" {
			parts = append(parts, strings.TrimSpace(part[0]+" "+part[1]))
		}
	}
	return strings.Join(parts, ", ")
}

func TestSource_LeavesOutWhatIsNotKnown(t *testing.T) {
	for agent, want := range map[string]string{
		"Firefox/128.0": `{"b":{"n":"Firefox","v":"128"}}`, "X11; Linux": `{"os":{"n":"Linux"}}`, "curl": `null`,
	} {
		if got, err := json.Marshal(source(agent)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", agent, got, err)
		}
	}
}
