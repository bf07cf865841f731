package page

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is a browser of this machine; without one the test is skipped, and says what to do.
func chromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser has nothing of the race detector: it looks at the page in the run without")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("chromium is not installed: apt-get install chromium")
	return ""
}

// browser starts a browser without a window, which ends with the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.Flag("hide-scrollbars", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's own refuses root; the pages are ours
	}
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...)
	ctx, _ = chromedp.NewContext(ctx)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error("end the browser:", err)
		}
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("start the browser:", err)
	}
	return ctx
}

// console collects what a browser complains of: errors, scripts that fail, and what the policy forbade.
type console struct {
	mu    sync.Mutex
	lines []string
}

func (c *console) hear(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		c.lines = append(c.lines, fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
	case *runtime.EventConsoleAPICalled:
		c.lines = append(c.lines, fmt.Sprintf("%s: %v", e.Type, e.Args))
	case *runtime.EventExceptionThrown:
		c.lines = append(c.lines, e.ExceptionDetails.Text)
	}
}

func (c *console) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := c.lines
	c.lines = nil
	return lines
}

// A real browser shows each page in each way, complains of nothing, and finds nothing that a person
// could not use. EXPUNGE_SHOTS names a directory to which the pictures go; EXPUNGE_AXE the axe.min.js of axe-core,
// whose rules are then checked as well.
func TestInABrowser(t *testing.T) {
	script, err := os.ReadFile("testdata/look.js")
	if err != nil {
		t.Fatal(err)
	}
	shots := os.Getenv("EXPUNGE_SHOTS")
	ctx := browser(t)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var said console
	if err := chromedp.Listen(ctx, said.hear); err != nil {
		t.Fatal(err)
	}
	dark := func(scheme string) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}
	for name, s := range map[string]*scripted{"workshop": workshop(), "quiet": quiet(), "station": station(), "hostile": hostile(), "unreadable": unreadable()} {
		server := httptest.NewServer(handlerOf(s))
		t.Cleanup(server.Close)
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 1090, 360} { // the second is the narrowest with tables
				what := fmt.Sprintf("%s-%s-%d", name, scheme, width)
				if err := dark(scheme); err != nil {
					t.Fatal(err)
				}
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800), chromedp.Navigate(server.URL+"/?refresh=off")); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				findings, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](string(script)))
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				for _, f := range append(findings, said.take()...) {
					t.Errorf("%s: %s", what, f)
				}
				paper, err := chromedp.Run(ctx, chromedp.Evaluate[string](`getComputedStyle(document.body).backgroundColor`))
				if want := map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 22)"}[scheme]; err != nil || paper != want {
					t.Errorf("%s: the paper is %s, %v", what, paper, err)
				}
				if name != "station" { // its rules take minutes for 350 rows
					axe(ctx, t, what)
				}
				if shots != "" {
					picture := chromedp.FullScreenshot(100)
					if name == "station" {
						picture = chromedp.CaptureScreenshot() // all of it is 20,000 pixels high
					}
					keep(ctx, t, filepath.Join(shots, what+".png"), picture)
				}
			}
		}
		if shots != "" {
			keep(ctx, t, filepath.Join(shots, name+".pdf"), chromedp.PrintToPDF())
		}
	}
}

// keep has a picture of the page made, for people to look at.
func keep(ctx context.Context, t *testing.T, path string, picture chromedp.Action[[]byte]) {
	t.Helper()
	data, err := chromedp.Run(ctx, picture)
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// axe runs the rules of axe-core, where it was named.
func axe(ctx context.Context, t *testing.T, what string) {
	t.Helper()
	path := os.Getenv("EXPUNGE_AXE")
	if path == "" {
		return
	}
	library, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void](string(library))); err != nil {
		t.Fatal(err)
	}
	violations, err := chromedp.Run(ctx, chromedp.Evaluate[[]string](`axe.run().then(r => r.violations.map(v => v.id + ": " + v.help + " " + v.nodes[0].html.slice(0, 200)))`, chromedp.EvalAwaitPromise))
	if err != nil || len(violations) > 0 {
		t.Errorf("%s: axe: %s %v", what, strings.Join(violations, "\n"), err)
	}
}
