package web

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"tutela/storage/storagetest/check"
)

// chromium is a real browser, driven over a pipe in its own protocol. Reference:
// https://chromedevtools.github.io/devtools-protocol.
type chromium struct {
	t       testing.TB
	in      io.Writer
	out     *bufio.Reader
	calls   int
	session string // of the tab
}

// openChromium starts a browser. Without one on the machine the test is skipped: a browser is too large for the suite to
// install.
func openChromium(t *testing.T) *chromium {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser: run it without -short")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("there is no chromium here: the pages are tested without a browser alone (apt-get install chromium)")
	}
	fromUs, in, err := os.Pipe()
	check.Must(t, err)
	out, toUs, err := os.Pipe()
	check.Must(t, err)
	home, err := os.MkdirTemp("", "chromium")
	check.Must(t, err)
	run := exec.CommandContext(t.Context(), path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--hide-scrollbars", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(home, "profile"))
	run.Env = append(os.Environ(), "HOME="+home)
	run.ExtraFiles = []*os.File{fromUs, toUs}
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has processes of its own, which write to its folder
	check.Must(t, run.Start())
	check.Must(t, fromUs.Close())
	check.Must(t, toUs.Close())
	t.Cleanup(func() {
		_ = in.Close() // it ends with its pipe
		_ = run.Wait()
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL)
		_ = out.Close()
		for os.RemoveAll(home) != nil { // as long as one of them is dying
			runtime.Gosched()
		}
	})
	c := &chromium{t: t, in: in, out: bufio.NewReader(out)}
	tab := c.call("Target.createTarget", `{"url":"about:blank"}`)
	c.session = text(c.call("Target.attachToTarget", fmt.Sprintf(`{"targetId":%q,"flatten":true}`, text(tab["targetId"]))), "sessionId")
	return c
}

func text(of any, members ...string) string {
	for _, name := range members {
		object, _ := of.(map[string]any)
		of = object[name]
	}
	s, _ := of.(string)
	return s
}

// call makes a call of the protocol and returns its result; nil when the browser refused it.
func (c *chromium) call(method, params string) map[string]any {
	c.t.Helper()
	c.calls++
	session := ""
	if c.session != "" {
		session = fmt.Sprintf(`"sessionId":%q,`, c.session)
	}
	_, err := fmt.Fprintf(c.in, `{"id":%d,%s"method":%q,"params":%s}`+"\x00", c.calls, session, method, params)
	check.Must(c.t, err)
	for {
		message, err := c.out.ReadBytes(0)
		check.Must(c.t, err)
		var answer struct {
			ID     int
			Result map[string]any
		}
		check.Must(c.t, json.Unmarshal(message[:len(message)-1], &answer))
		if answer.ID == c.calls {
			return answer.Result
		}
	}
}

// eval returns the value of an expression of JavaScript in the page.
func (c *chromium) eval(expression string) any {
	c.t.Helper()
	quoted, err := json.Marshal(expression)
	check.Must(c.t, err)
	result := c.call("Runtime.evaluate", `{"returnByValue":true,"awaitPromise":true,"userGesture":true,"expression":`+string(quoted)+`}`)
	value, _ := result["result"].(map[string]any)
	return value["value"]
}

// until waits until an expression is true in the page.
func (c *chromium) until(expression string) {
	c.t.Helper()
	for c.eval(expression) != true {
		if c.t.Context().Err() != nil {
			c.t.Fatalf("it never came: %s", expression)
		}
	}
}

// sees waits until the page shows a heading.
func (c *chromium) sees(heading string) {
	c.t.Helper()
	c.until(fmt.Sprintf(`document.readyState === "complete" && document.querySelector("h1")?.textContent === %q`, heading))
}

func (c *chromium) open(url string) {
	c.t.Helper()
	c.call("Page.navigate", fmt.Sprintf(`{"url":%q}`, url))
}

// press clicks what a selector finds.
func (c *chromium) press(selector string) {
	c.t.Helper()
	c.until(fmt.Sprintf(`!!document.querySelector(%q)`, selector))
	c.eval(fmt.Sprintf(`document.querySelector(%q).click()`, selector))
}

// size makes the window as wide as a screen, in a light or dark scheme.
func (c *chromium) size(width int, scheme string) {
	c.t.Helper()
	c.call("Emulation.setDeviceMetricsOverride", fmt.Sprintf(`{"width":%d,"height":844,"deviceScaleFactor":1,"mobile":%t}`, width, width < 700))
	c.call("Emulation.setTouchEmulationEnabled", fmt.Sprintf(`{"enabled":%t}`, width < 700))
	c.call("Emulation.setEmulatedMedia", fmt.Sprintf(`{"features":[{"name":"prefers-color-scheme","value":%q}]}`, scheme))
}

// fits fails the test when the page is wider than the window, or a button is cut off. Where TUTELA_SHOTS names a folder,
// it leaves pictures of the page there, at two widths and in both schemes.
func (c *chromium) fits(name string) {
	c.t.Helper()
	folder := os.Getenv("TUTELA_SHOTS")
	schemes := []string{"light"} // nothing is wider in the dark
	if folder != "" {
		schemes = append(schemes, "dark")
	}
	for _, width := range []int{320, 390, 1280} {
		for _, scheme := range schemes {
			c.size(width, scheme)
			// A phone makes its window as wide as the page asks for, so the window is no measure.
			if wide := c.eval(`document.documentElement.scrollWidth`); wide != float64(width) {
				c.t.Errorf("%s: at %d px the page is %v px wide", name, width, wide)
			}
			cut := c.eval(fmt.Sprintf(`[...document.querySelectorAll("a.button, button, .code span, .secret span")].filter((e) => e.getClientRects().length &&
				(e.scrollWidth > e.clientWidth + 1 && e.clientWidth || e.getBoundingClientRect().right > %d)).map((e) => e.textContent).join()`, width))
			if cut != "" {
				c.t.Errorf("%s: at %d px this is cut off: %v", name, width, cut)
			}
			if folder != "" && width > 320 {
				c.shoot(filepath.Join(folder, fmt.Sprintf("%s.%d-%s.png", name, width, scheme)))
			}
		}
	}
}

// shoot leaves a picture of the whole page in a file.
func (c *chromium) shoot(file string) {
	c.t.Helper()
	height := c.eval(`Math.max(844, document.documentElement.scrollHeight)`)
	width := c.eval(`innerWidth`)
	shot := c.call("Page.captureScreenshot", fmt.Sprintf(`{"captureBeyondViewport":true,"clip":{"x":0,"y":0,"width":%v,"height":%v,"scale":1}}`, width, height))
	picture, err := base64.StdEncoding.DecodeString(text(shot, "data"))
	check.Must(c.t, err)
	check.Must(c.t, os.WriteFile(file, picture, 0o600))
}

// print leaves what comes out of the printer in a file, as PDF, and returns how many pages it has.
func (c *chromium) print(file string) int {
	c.t.Helper()
	printed, err := base64.StdEncoding.DecodeString(text(c.call("Page.printToPDF", `{"preferCSSPageSize":true}`), "data"))
	check.Must(c.t, err)
	if file != "" {
		check.Must(c.t, os.WriteFile(file, printed, 0o600))
	}
	return strings.Count(string(printed), "/Type /Page\n") + strings.Count(string(printed), "/Type /Page ")
}
