package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"membersync/cmd/internal/ops"
	"membersync/cmd/internal/texts"
	"membersync/dlq"
)

// A reply is a page, or where to go.
type reply struct {
	page    string // the name of its template
	title   string
	data    any
	status  int    // 0: 200
	refresh int    // seconds until the page is loaded again; 0: it is not
	to      string // where to go instead
	notice  string // for the page there
}

var (
	errViewer = errors.New("this needs an operator")
	errInput  = errors.New("invalid input")
)

// An inputError says what is wrong with what a form has sent.
type inputError struct{ problem string }

// Error returns what is wrong.
func (e *inputError) Error() string { return e.problem }

// Unwrap returns errInput.
func (e *inputError) Unwrap() error { return errInput }

// pages are the templates.
type pages struct{ byName map[string]*template.Template }

func newPages() (*pages, error) {
	entries, err := files.ReadDir("templates")
	if err != nil {
		return nil, err
	}
	p := &pages{byName: map[string]*template.Template{}}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".html")
		if name == "layout" {
			continue
		}
		t, err := template.New("layout.html").Funcs(functions()).ParseFS(files, "templates/layout.html", "templates/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("web: %w", err)
		}
		p.byName[name] = t
	}
	return p, nil
}

func functions() template.FuncMap {
	return template.FuncMap{
		"t": text, "number": number, "counted": counted, "long": texts.Duration,
		"ago":      func(now, at time.Time) string { return ago(now, at) },
		"stamp":    stamp,
		"clock":    clock,
		"rfc":      func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"path":     url.PathEscape,
		"isOpen":   func(s dlq.State) bool { return s == dlq.StateOpen },
		"stateTag": stateTag,
		"short":    shortID,
		"tile":     func(key string, n int64) tile { return tile{text(key), n} },
		"plain":    func(t ops.Time) time.Time { return t.Time },
	}
}

// A tile is a number with its name.
type tile struct {
	Name  string
	Value int64
}

// frame is what every page has.
type frame struct {
	Title, Section, Notice, CSRF, Actor, Path string
	Target                                    ops.Target
	Operator, LoggedIn, HasSession            bool
	Open                                      int
	Now                                       time.Time
	Refresh                                   int
	Problem                                   string // why the topics cannot be read
	Data                                      any
}

// answer writes what an action has returned.
func (s *Server) answer(ctx context.Context, v *visit, a reply, err error) {
	if err != nil {
		a = s.errorReply(ctx, err)
	}
	if a.to != "" {
		s.access.notify(v.session, a.notice)
		http.Redirect(v.w, v.r, a.to, http.StatusSeeOther)
		return
	}
	f := frame{
		Title: a.title, Section: section(v.r.URL.Path), Notice: s.access.takeNotice(v.session), CSRF: v.csrf(), Actor: v.actor,
		Path: v.r.URL.RequestURI(), Target: s.live.Target(), Operator: v.isOperator(), LoggedIn: true, HasSession: v.session != nil,
		Now: v.now, Refresh: a.refresh, Data: a.data,
	}
	for _, g := range s.live.Catalog().Open(v.now) {
		f.Open += g.Count
	}
	if since, err := s.live.Err(); err != nil {
		f.Problem = text("topics.problem", ago(v.now, since), err)
	}
	s.pages.execute(v.w, max(a.status, http.StatusOK), a.page, f)
}

// section is the first part of a path.
func section(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "jobs" {
		return "dead-letters"
	}
	return first
}

// errorReply is the page about an error.
func (s *Server) errorReply(ctx context.Context, err error) reply {
	a := reply{page: "error", title: text("error.title"), status: http.StatusBadGateway}
	_, isRefused := errors.AsType[*ops.RefusedError](err)
	_, isID := errors.AsType[*dlq.IDError](err)
	switch {
	case errors.Is(err, errNotFound), errors.Is(err, dlq.ErrNoItem), isID:
		a.status, a.data = http.StatusNotFound, text("error.notfound")
	case errors.Is(err, errViewer):
		a.status, a.data = http.StatusForbidden, text("error.viewer")
	case errors.Is(err, errInput):
		a.status, a.data = http.StatusUnprocessableEntity, err.Error()
	case isRefused:
		a.status, a.data = http.StatusConflict, err.Error()
	default:
		s.Logger.LogAttrs(ctx, slog.LevelWarn, "page failed", slog.String("error", err.Error()))
		a.data = err.Error()
	}
	return a
}

// write writes a page for a visitor who is not known.
func (p *pages) write(w http.ResponseWriter, status int, name, title string, data any) {
	p.execute(w, status, name, frame{Title: title, Now: time.Now(), Data: data})
}

func (p *pages) execute(w http.ResponseWriter, status int, name string, f frame) {
	var page bytes.Buffer
	if err := p.byName[name].Execute(&page, f); err != nil {
		plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(visible(page.Bytes()))
}

// plain answers with a line of text.
func plain(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, string(visible([]byte(line)))+"\n")
}

// visible spells out what cannot be seen: control characters, those that change the direction of a
// text, and bytes that are not UTF-8. In a JSON text, the escapes of characters mean the same.
func visible(page []byte) []byte {
	out := make([]byte, 0, len(page)+len(page)/16)
	for len(page) > 0 {
		r, size := utf8.DecodeRune(page)
		switch {
		case r == utf8.RuneError && size == 1:
			out = fmt.Appendf(out, `\x%02x`, page[0])
		case r == '\n', r == '\t', strconv.IsPrint(r):
			out = append(out, page[:size]...)
		default:
			if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
				out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
			} else {
				out = fmt.Appendf(out, `\u%04x`, r)
			}
		}
		page = page[size:]
	}
	return out
}

// number writes a number with groups of three digits.
func number(n any) string {
	digits := fmt.Sprint(n)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	const group = 3
	for i := len(digits) - group; i > 0; i -= group {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// counted writes a number with its word in the singular or the plural.
func counted(n any, word string) string {
	if digits := number(n); digits != "1" {
		return digits + " " + word + "s"
	}
	return "1 " + word
}

// ago says how long before now something was.
func ago(now, at time.Time) string {
	if at.IsZero() {
		return text("time.unknown")
	}
	return text("time.ago", texts.Duration(now.Sub(at)))
}

// stamp writes a time in UTC.
func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05 UTC")
}

// stateTag is the class of a state.
func stateTag(s dlq.State) string {
	switch s {
	case dlq.StateOpen:
		return "bad"
	case dlq.StateRedriving:
		return "warn"
	case dlq.StateApplied:
		return "ok"
	case dlq.StateSuperseded, dlq.StateDiscarded:
	}
	return ""
}

// shortID is the short form of an id, for display only.
func shortID(id string) string {
	short, _, _ := strings.Cut(id, "@")
	return short
}
