package webtest

import (
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// shared is the browser that the tests of a process share: to start one takes longer than most tests, and a tab has its own cookies.
var shared struct {
	sync.Mutex
	kept bool // Main closes it
	tab  context.Context
	stop func()
}

// Main runs the tests of a package, and closes the browser that they have shared. It is for TestMain: without it each test has a browser
// of its own.
func Main(m *testing.M) {
	shared.Lock()
	shared.kept = true
	shared.Unlock()
	code := m.Run()
	if shared.stop != nil {
		shared.stop()
	}
	os.Exit(code)
}

// theBrowser returns the first tab of a browser that runs.
func theBrowser(t testing.TB, path string) (context.Context, error) {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.tab != nil && shared.tab.Err() == nil {
		return shared.tab, nil
	}
	tab, stop, err := launch(path)
	switch {
	case err != nil:
		return nil, err
	case shared.kept:
		shared.tab = tab
		shared.stop = stop
	default:
		t.Cleanup(stop)
	}
	return tab, nil
}

// launch starts a browser with an empty profile. stop ends it.
func launch(path string) (tab context.Context, stop func(), err error) {
	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		return nil, nil, err
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // as root there is none
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-gpu", true), // there is none: what draws in its place takes a processor for itself
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("lang", "en"),
		chromedp.UserDataDir(profile),
		chromedp.WSURLReadTimeout(time.Minute))
	allocated, end := chromedp.NewExecAllocator(context.Background(), options...)
	tab, leave := chromedp.NewContext(allocated)
	stop = func() {
		leave()
		end()
		_ = os.RemoveAll(profile) // it may still write: then the machine's own sweeping takes the rest
	}
	if err := chromedp.Do(tab); err != nil {
		stop()
		return nil, nil, err
	}
	return tab, stop, nil
}
