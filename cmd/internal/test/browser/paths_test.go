package browser

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

const (
	rejected = 12 // members that the CRM does not know at first: too few for the storm guard
	waiting  = 8  // members that change while the CRM fails: enough for an outage
)

// An operator sees the alarm, opens the group, looks at one dead letter and its cause. Once the CRM
// knows the members and works again, the operator redrives all of them.
func TestRedrive(t *testing.T) {
	for _, way := range []string{"mouse", "without-script", "keyboard"} {
		t.Run(way, func(t *testing.T) {
			s := startStack(t)
			s.fault(t, fmt.Sprintf(`{"code":20012,"times":%d}`, rejected))
			for i := range rejected {
				s.send(t, i+1, `{"position":"Sample"}`)
			}
			s.awaitOpen(t, rejected)
			s.fault(t, `{"status":502,"times":-1}`)
			for i := range waiting {
				s.send(t, 100+i, `{"position":"Sample"}`)
			}
			b := newBrowser(t, "http://"+s.ui, "redrive-"+way)
			b.keyboard = way == "keyboard"
			if way == "without-script" {
				b.withoutScript()
			}
			b.login()
			b.awaitText(".banner.bad", "The CRM does not respond or fails")
			b.see("1-alarm")
			b.press(`nav a[href="/dead-letters"]`)
			b.awaitText("main", "crm_not_found")
			b.see("2-groups")
			b.press(`main table a[href*="cause="]`)
			b.await(`input[name="id"]`)
			b.see("3-group")
			b.press(`main tbody a[href^="/dead-letters/"]`)
			b.awaitText("#runbook", "crm_not_found")
			b.see("4-dead-letter")
			s.endFaults(t)
			b.open("/dead-letters")
			b.press(`main table a[href*="cause="]`)
			b.choose("scope", "all")
			b.press(`button[name="kind"][value="redrive"]`)
			b.awaitText("h1", "edrive")
			b.see("5-plan")
			b.fill("#note", "the CRM knows them now")
			b.fill("#canary", "2")
			b.press("main form.stack button")
			b.awaitText("main .head .tag", "done")
			b.awaitText("main", fmt.Sprintf("applied: %d", rejected))
			b.see("6-done")
			if n := s.open(t); n != 0 {
				t.Errorf("%d dead letters are open", n)
			}
			b.open("/audit")
			b.awaitText("main table", "the CRM knows them now")
			b.see("7-audit")
		})
	}
}

// An operator corrects one value, and redrives that event.
func TestEditAndRedrive(t *testing.T) {
	s := startStack(t)
	s.send(t, 21, `{"gender":"none"}`)
	s.awaitOpen(t, 1)
	b := newBrowser(t, "http://"+s.ui, "edit")
	b.login()
	b.open("/dead-letters?q=reason:invalid_field")
	b.awaitText("main", "1 selected")
	b.press(`main tbody a[href^="/dead-letters/"]`)
	b.fill("#reveal-note", "corrected by HR")
	b.press("#edit")
	b.await("textarea#value")
	b.see("1-edit")
	var value string
	b.do(chromedp.Value("textarea#value", &value, chromedp.ByQuery))
	wrong := strings.Replace(value, `"none"`, `"neither"`, 1)
	b.fill("textarea#value", wrong)
	b.press("main form.stack button")
	b.await("#problem")
	b.see("2-refused")
	b.fill("textarea#value", strings.Replace(value, `"none"`, `"F"`, 1))
	b.press("main form.stack button")
	b.await("#note")
	b.see("3-plan")
	b.press("main form.stack button")
	b.awaitText("main .head .tag", "done")
	b.awaitText("main", "applied")
	b.see("4-done")
	if n := s.open(t); n != 0 {
		t.Errorf("%d dead letters are open", n)
	}
	b.open("/employees/E0021")
	b.awaitText(".banner", "redrive")
	b.awaitText("main", "gender")
	b.see("5-employee")
}

// A replay is planned on the page, started with the command that it shows, followed and canceled.
func TestReplay(t *testing.T) {
	s := startStack(t)
	for i := range 30 {
		s.send(t, i+1, `{"position":"Sample"}`)
	}
	b := newBrowser(t, "http://"+s.ui, "replay")
	b.login()
	b.open("/replays")
	b.await("#from")
	b.see("1-range")
	b.fill("#from", "earliest")
	b.press("#replay button.primary")
	b.await("#plan")
	b.see("2-plan")
	var command string
	b.do(chromedp.Text("#command", &command, chromedp.ByQuery))
	words := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`).FindAllString(command, -1)
	if len(words) < 2 || words[0] != "membersync" || words[1] != "replay" {
		t.Fatalf("the command is %q", command)
	}
	for i := range words {
		words[i] = strings.Trim(words[i], `'"`)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	replay := s.command(ctx, append(words[1:], "--rate", "1", "--yes", "--note", "shown on the page")...)
	var out bytes.Buffer
	replay.Stdout, replay.Stderr = &out, &out
	if err := replay.Start(); err != nil {
		t.Fatal(err)
	}
	b.open("/replays")
	b.awaitText("main table", "running")
	b.see("3-running")
	b.press(`form[action$="/cancel"] button`)
	b.awaitText("main table", "canceled")
	b.see("4-canceled")
	err := replay.Wait()
	if _, ended := err.(*exec.ExitError); !ended {
		t.Errorf("the replay ended with %v: %s", err, out.String())
	}
	if !strings.Contains(out.String(), "cancel") {
		t.Errorf("the replay does not say that it was canceled: %s", out.String())
	}
}

// The author of a mapping tries it on a record of the topic.
func TestMapping(t *testing.T) {
	s := startStack(t)
	s.send(t, 31, `{"position":"Sample Secret"}`)
	b := newBrowser(t, "http://"+s.ui, "mapping")
	b.login()
	b.open("/mapping")
	b.awaitText("#records", "0:0")
	b.see("1-records")
	b.press(`#records button[name="place"]`)
	b.awaitText("#result", "update")
	var text string
	b.do(chromedp.Text("main", &text, chromedp.ByQuery))
	if strings.Contains(text, "Secret") {
		t.Error("a value is shown unrevealed")
	}
	b.see("2-result")
	b.fill("textarea#file", "version: 1\nidentity: {event_id: $event.eventId}\nfieldz: {}\n")
	b.press("#try-typed")
	b.await("#faults li.bad")
	b.see("3-faults")
}

// The pages that no other path shows.
func TestOtherPages(t *testing.T) {
	s := startStack(t)
	b := newBrowser(t, "http://"+s.ui, "other")
	b.open("/login")
	b.see("login")
	b.login()
	for _, path := range []string{"/", "/dead-letters", "/employees", "/replays", "/audit", "/not-there"} {
		b.open(path)
		b.see("empty" + strings.ReplaceAll(path, "/", "-"))
	}
	b.open("/")
	b.do(chromedp.Sleep(6 * time.Second)) // the script loads the page again
	b.see("refreshed")
}
