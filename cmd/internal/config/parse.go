package config

import (
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // zones are named in the configuration, and images may hold none

	"membersync/crmapi"
)

// A parser turns text into a value, or says that it cannot.
type parser[T any] func(text string) (T, bool)

func anyText(text string) (string, bool) { return text, true }

func nonEmpty(text string) (string, bool) { return text, strings.TrimSpace(text) != "" }

func oneOf(words ...string) parser[string] {
	return func(text string) (string, bool) { return text, slices.Contains(words, text) }
}

func boolean(text string) (value, ok bool) { return text == "true", text == "true" || text == "false" }

func count(text string) (int, bool) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err == nil && n >= 1
}

func share(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && n >= 0 && n <= 1
}

// size reads a number of bytes, alone or with B, KiB, MiB or GiB.
func size(text string) (int64, bool) {
	digits, unit := text, int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = rest, factor
		}
	}
	if unit == 1 {
		digits = strings.TrimSuffix(text, "B")
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// atLeast reads a duration that is no shorter than least.
func atLeast(least time.Duration) parser[time.Duration] {
	return func(text string) (time.Duration, bool) {
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= least
	}
}

// list reads comma-separated items; an empty text is an empty list.
func list[T any](item parser[T]) parser[[]T] {
	return func(text string) ([]T, bool) {
		var all []T
		for _, part := range splitList(text) {
			value, ok := item(part)
			if !ok {
				return nil, false
			}
			all = append(all, value)
		}
		return all, true
	}
}

func nonEmptyList[T any](item parser[T]) parser[[]T] {
	return func(text string) ([]T, bool) {
		all, ok := list(item)(text)
		return all, ok && len(all) > 0
	}
}

func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func joinList(items []string) string { return strings.Join(items, ",") }

// address reads host:port.
func address(text string) (string, bool) {
	host, port, err := net.SplitHostPort(text)
	return text, err == nil && host != "" && !strings.ContainsAny(host, "@/ ") && isPort(port, 1)
}

// listenAddress reads host:port or :port, or nothing for no listener.
func listenAddress(text string) (string, bool) {
	if text == "" {
		return "", true
	}
	host, port, err := net.SplitHostPort(text)
	return text, err == nil && !strings.ContainsAny(host, "@/ ") && isPort(port, 0)
}

func isPort(text string, least uint64) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n >= least
}

// topic reads a name that Kafka takes for a topic.
func topic(text string) (string, bool) {
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)
	}
	ok := text != "" && len(text) <= 249 && text != "." && text != ".."
	return text, ok && !strings.ContainsFunc(text, func(r rune) bool { return !legal(r) })
}

// prefix reads the beginning of Redis keys. Braces would move the hash tag.
func prefix(text string) (string, bool) {
	illegal := func(r rune) bool { return r <= ' ' || r > '~' || r == '{' || r == '}' }
	return text, text != "" && !strings.ContainsFunc(text, illegal)
}

// baseURL reads an http or https URL that a path can be appended to.
func baseURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", false
	}
	plain := u.User == nil && u.RawQuery == "" && !u.ForceQuery && !strings.Contains(text, "#")
	return strings.TrimRight(text, "/"), plain
}

// tokenURL reads an http or https URL, or nothing.
func tokenURL(text string) (string, bool) {
	u, err := url.Parse(text)
	if text == "" || err != nil {
		return "", text == ""
	}
	return text, (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil && !strings.Contains(text, "#")
}

// proxyURL reads the URL of a proxy, or nothing.
func proxyURL(text string) (Secret, bool) {
	u, err := url.Parse(text)
	if text == "" || err != nil {
		return Secret{}, text == ""
	}
	scheme := u.Scheme == "http" || u.Scheme == "https" || u.Scheme == "socks5"
	plain := strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && !u.ForceQuery && !strings.Contains(text, "#")
	return NewSecret(text), scheme && u.Hostname() != "" && plain
}

// optionalHost reads the name or the address of a host, or nothing.
func optionalHost(text string) (string, bool) {
	return text, !strings.ContainsAny(text, ":/@ ,") || net.ParseIP(text) != nil
}

// headerName reads the name of an HTTP header (RFC 9110, section 5.6.2), or nothing.
func headerName(text string) (string, bool) {
	legal := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}
	return text, !strings.ContainsFunc(text, func(r rune) bool { return !legal(r) })
}

func urlPath(text string) (string, bool) {
	u, err := url.Parse(text)
	return text, err == nil && strings.HasPrefix(text, "/") && u.Host == "" && u.Path == text
}

// rate reads calls/window, or 0 for no limit.
func rate(text string) (Rate, bool) {
	if text == "0" {
		return Rate{}, true
	}
	calls, window, found := strings.Cut(text, "/")
	n, okCalls := count(calls)
	d, okWindow := atLeast(time.Millisecond)(window)
	return Rate{Calls: n, Window: d}, found && okCalls && okWindow
}

// clockTime reads a time of day and a zone.
func clockTime(text string) (ClockTime, bool) {
	clock, name, _ := strings.Cut(text, " ")
	at, err := time.Parse("15:04", clock)
	location, ok := zone(name)
	return ClockTime{Hour: at.Hour(), Minute: at.Minute(), Location: location}, err == nil && len(clock) == 5 && ok
}

// zone reads the name of a zone. The machine's own is refused: it differs from
// machine to machine.
func zone(name string) (*time.Location, bool) {
	if name == "" || name == "Local" {
		return nil, false
	}
	location, err := time.LoadLocation(name)
	return location, err == nil
}

func optionalZone(name string) (*time.Location, bool) {
	if name == "" {
		return nil, true
	}
	return zone(name)
}

func level(text string) (slog.Level, bool) {
	switch text {
	case "debug":
		return slog.LevelDebug, true
	case "info":
		return slog.LevelInfo, true
	case "warn":
		return slog.LevelWarn, true
	case "error":
		return slog.LevelError, true
	default:
		return 0, false
	}
}

func errorCodes(text string) (crmapi.Table, bool) {
	table, err := crmapi.ParseTable(text)
	return table, err == nil
}

func objectFields(text string) (crmapi.Object, bool) {
	object, err := crmapi.ParseObject(text)
	return object, err == nil
}

// redisURL reads redis://[user:password@]host:port[,host:port…][/db][?master_name=NAME].
// The addresses are taken out first, since a URL proper has only one.
func redisURL(text string) (RedisURL, bool) {
	scheme, rest, _ := strings.Cut(text, "://")
	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	user, hosts := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		user, hosts = authority[:i+1], authority[i+1:]
	}
	u, err := url.Parse("redis://" + user + "host" + tail)
	addrs, okAddrs := nonEmptyList(redisAddress)(hosts)
	if err != nil || !okAddrs || scheme != "redis" && scheme != "rediss" {
		return RedisURL{}, false
	}
	parsed := RedisURL{TLS: scheme == "rediss", Addrs: addrs, username: u.User.Username()}
	if password, ok := u.User.Password(); ok {
		parsed.password = NewSecret(password)
	}
	return parsed, parsed.tail(u)
}

func redisAddress(text string) (string, bool) {
	if _, _, err := net.SplitHostPort(text); err != nil {
		text = net.JoinHostPort(strings.Trim(text, "[]"), "6379")
	}
	return address(text)
}

// tail takes database and options from u.
func (u *RedisURL) tail(from *url.URL) bool {
	if db := strings.Trim(from.Path, "/"); db != "" {
		n, err := strconv.ParseUint(db, 10, 16)
		if err != nil {
			return false
		}
		u.DB = int(n)
	}
	query, err := url.ParseQuery(from.RawQuery)
	u.MasterName = query.Get("master_name")
	query.Del("master_name")
	return err == nil && len(query) == 0 && from.Fragment == ""
}
