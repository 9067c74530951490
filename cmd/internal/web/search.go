package web

import (
	"slices"
	"strings"
	"time"

	"membersync/cmd/internal/times"
	"membersync/dlq"
)

// parseSearch reads the tokens of a search: reason: code: employee: since: until: state: text:, and
// words without a token, which are a part of the error. A value with blanks stands in quotes.
// Without a state, open items are meant.
func parseSearch(search string, now time.Time) (dlq.Query, error) {
	q := dlq.Query{States: []dlq.State{dlq.StateOpen}}
	var words []string
	for _, token := range tokens(search) {
		name, value, ok := strings.Cut(token, ":")
		if !ok {
			name, value = "text", token
		}
		switch name {
		case "reason":
			reason := dlq.Reason(value)
			if !slices.Contains(dlq.Reasons(), reason) {
				return q, &inputError{text("search.reason", value)}
			}
			q.Reasons = append(q.Reasons, reason)
		case "code":
			q.Code = value
		case "employee":
			q.Employee = value
		case "text":
			words = append(words, value)
		case "state":
			switch state := dlq.State(value); {
			case value == "all":
				q.States = nil
			case slices.Contains(dlq.States(), state):
				q.States = []dlq.State{state}
			default:
				return q, &inputError{text("search.state", value)}
			}
		case "since", "until":
			at, ok := times.Parse(value, now)
			if !ok {
				return q, &inputError{text("input.time")}
			}
			if name == "since" {
				q.Since = at
			} else {
				q.Until = at
			}
		default:
			return q, &inputError{text("search.token", name)}
		}
	}
	q.Text = strings.Join(words, " ")
	return q, nil
}

// tokens splits a search at blanks outside of quotes.
func tokens(search string) (all []string) {
	var b strings.Builder
	quoted := false
	end := func() {
		if b.Len() > 0 {
			all = append(all, b.String())
		}
		b.Reset()
	}
	for _, r := range search {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			end()
		default:
			b.WriteRune(r)
		}
	}
	end()
	return all
}
