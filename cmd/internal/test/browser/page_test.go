package browser

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// A browser is one tab. Its methods fail the test.
type browser struct {
	t        *testing.T
	ctx      context.Context
	base     string
	noScript bool
	keyboard bool // everything is done by keys
	prefix   string

	mu       sync.Mutex
	problems []string // of the console
}

func newBrowser(t *testing.T, base, prefix string) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocator, end := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(end)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, base: base, prefix: prefix}
	chromedp.ListenTarget(ctx, b.listen)
	if err := chromedp.Run(ctx); err != nil { // starts it; the end of this context is its end
		t.Fatal(err)
	}
	b.do(chromedp.EmulateViewport(1280, 900))
	return b
}

// listen notes errors of the console: of a script, and of the content security policy.
func (b *browser) listen(ev any) {
	text := ""
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError && !strings.Contains(e.Entry.Text, "with a status of 4") {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	}
	if text != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, text)
	}
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatalf("%v; the page is %s", err, b.text())
	}
}

// text returns the text of the page, for messages.
func (b *browser) text() (text string) {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Evaluate(`location.pathname + ": " + document.body.innerText.slice(0, 1500)`, &text))
	return text
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base+path), chromedp.WaitReady("main"))
}

// withoutScript turns JavaScript of the pages off.
func (b *browser) withoutScript() {
	b.noScript = true
	b.do(emulation.SetScriptExecutionDisabled(true))
}

// login enters a name.
func (b *browser) login() {
	b.t.Helper()
	b.open("/login")
	b.fill("#name", "Sample Operator")
	b.press("main form button")
	b.await("nav")
}

// press activates a link or a button and waits for the next page.
func (b *browser) press(selector string) {
	b.t.Helper()
	var before, now float64
	const loaded = `document.readyState === "complete" ? performance.timeOrigin : 0`
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery), chromedp.Evaluate(`performance.timeOrigin`, &before))
	if b.keyboard {
		b.focus(selector)
		b.do(chromedp.KeyEvent(kb.Enter))
	} else {
		b.do(chromedp.Click(selector, chromedp.ByQuery))
	}
	for end := time.Now().Add(limit); now == 0 || now == before; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("%s opens no page; the page is %s", selector, b.text())
		}
		_ = chromedp.Run(b.ctx, chromedp.Evaluate(loaded, &now)) // fails between two pages
	}
}

// choose sets the last of two radio buttons. Tab reaches the one that is set, and an arrow key the
// other.
func (b *browser) choose(name, value string) {
	b.t.Helper()
	selector := fmt.Sprintf(`input[name=%q][value=%q]`, name, value)
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery))
	if b.keyboard {
		b.focus(fmt.Sprintf(`input[name=%q]:checked`, name))
		b.do(chromedp.KeyEvent(kb.ArrowRight))
		return
	}
	b.do(chromedp.Click(selector, chromedp.ByQuery))
}

// fill replaces the text of an input.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery))
	if b.keyboard {
		b.focus(selector)
	} else {
		b.do(chromedp.Focus(selector, chromedp.ByQuery))
	}
	b.do(chromedp.KeyEvent("a", chromedp.KeyModifiers(input.ModifierCtrl)), input.InsertText(text))
}

// focus presses Tab until the element has the focus. What has it must be seen to have it.
func (b *browser) focus(selector string) {
	b.t.Helper()
	const most = 120
	for range most {
		var is, shown bool
		b.do(chromedp.Evaluate(fmt.Sprintf(`document.activeElement !== null && document.activeElement.matches(%q)`, selector), &is))
		if is {
			b.do(chromedp.Evaluate(`(() => { const s = getComputedStyle(document.activeElement);
				return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== "none"; })()`, &shown))
			if !shown {
				b.t.Errorf("%s has the focus, and nothing shows it", selector)
			}
			return
		}
		b.do(chromedp.KeyEvent(kb.Tab))
	}
	b.t.Fatalf("%d times Tab do not reach %s on %s", most, selector, b.text())
}

// await waits until an element is there.
func (b *browser) await(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(selector, chromedp.ByQuery))
}

// awaitText loads the page again until an element has the text. So it does not matter whether the
// page does that by itself.
func (b *browser) awaitText(selector, text string) {
	b.t.Helper()
	var got string
	for end := time.Now().Add(limit); ; time.Sleep(300 * time.Millisecond) {
		b.do(chromedp.WaitReady("main"), chromedp.Evaluate(fmt.Sprintf(
			`[...document.querySelectorAll(%q)].map((e) => e.innerText).join("\n")`, selector), &got))
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s has the text %q, want %q; the page is %s", selector, got, text, b.text())
		}
		b.do(chromedp.Reload(), chromedp.WaitReady("main"))
	}
}

//go:embed judge.js
var judge string

// A look is one way to look at a page.
type look struct {
	name          string
	width, height int64
	dark          bool
}

func looks() []look {
	return []look{{"light", 1280, 900, false}, {"dark", 1280, 900, true}, {"phone", 375, 812, false}, {"phone-dark", 375, 812, true}}
}

// see looks at the page in light and dark mode and at the width of a phone, takes a screenshot of
// each, and judges labels, headings, contrast and width.
func (b *browser) see(name string) {
	b.t.Helper()
	for _, l := range looks() {
		scheme := "light"
		if l.dark {
			scheme = "dark"
		}
		var faults []string
		var shot []byte
		b.do(
			chromedp.EmulateViewport(l.width, l.height),
			emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}),
			chromedp.Evaluate(judge, &faults),
			chromedp.ActionFunc(func(ctx context.Context) (err error) {
				shot, err = page.CaptureScreenshot().WithCaptureBeyondViewport(true).Do(ctx)
				return err
			}),
		)
		for _, fault := range faults {
			b.t.Errorf("%s, %s: %s", name, l.name, fault)
		}
		if dir := os.Getenv("MEMBERSYNC_TEST_SHOTS"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, b.prefix+"-"+name+"-"+l.name+".png"), shot, 0o600); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	b.do(chromedp.EmulateViewport(1280, 900))
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, problem := range b.problems {
		b.t.Errorf("%s: the console says %s", name, problem)
	}
	b.problems = nil
}
