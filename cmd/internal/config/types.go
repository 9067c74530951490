package config

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// hidden stands for every secret that would be printed.
const hidden = "***"

// A Secret is a value that prints as ***, however it is printed. The zero value is
// a secret that is not set.
type Secret struct {
	// A pointer, since fmt prints fields of unexported structs without asking
	// their methods: this way it prints an address.
	text *string
	path string // of the file that it was read from
}

// NewSecret makes a secret of text. An empty text is not set.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal returns the secret itself, as it was at the start.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Path returns the path of the file that the secret was read from. It is empty if the secret came
// from the environment.
func (s Secret) Path() string { return s.path }

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// Equal reports whether both hold the same secret.
func (s Secret) Equal(t Secret) bool { return s.Reveal() == t.Reveal() }

// String returns ***, or nothing for a secret that is not set.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return hidden
}

// GoString returns what String returns.
func (s Secret) GoString() string { return s.String() }

// Format prints what String returns, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue logs what String returns.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText writes what String returns.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SecretText returns the secret in the content of a file, without the line end that editors add,
// and whether there is one.
func SecretText(content []byte) (text string, ok bool) {
	text = strings.TrimRight(string(content), "\r\n")
	return text, text != ""
}

// A Rate is a number of calls in any window of a length. The zero value is no limit.
type Rate struct {
	Calls  int
	Window time.Duration
}

// A ClockTime is a time of day in a zone.
type ClockTime struct {
	Hour, Minute int
	Location     *time.Location
}

// Next returns the first such time after now.
func (c ClockTime) Next(now time.Time) time.Time {
	day := now.In(c.Location)
	for days := 0; ; days++ {
		next := time.Date(day.Year(), day.Month(), day.Day()+days, c.Hour, c.Minute, 0, 0, c.Location)
		if next.After(now) {
			return next
		}
	}
}

// A RedisURL locates one server, several sentinels or the nodes of a cluster.
type RedisURL struct {
	TLS        bool
	Addrs      []string // host:port
	DB         int
	MasterName string // what the sentinels call the server

	username string
	password Secret
}

// String returns the URL without user and password.
func (u RedisURL) String() string {
	scheme := "redis"
	if u.TLS {
		scheme = "rediss"
	}
	text := fmt.Sprintf("%s://%s/%d", scheme, joinList(u.Addrs), u.DB)
	if u.MasterName != "" {
		text += "?master_name=" + u.MasterName
	}
	return text
}
