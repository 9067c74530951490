package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// checkPlaintext refuses passwords and tokens that would be sent without TLS to a host other than
// loopback, unless that is allowed. SCRAM sends no password, so it is not refused.
func (l checker) checkPlaintext(c *Config) {
	if c.AllowPlaintext {
		return
	}
	for _, s := range []struct {
		sends   bool
		setting string
		what    string   // is sent
		hosts   []string // to whom
		instead string
	}{
		{
			!c.Kafka.TLS && c.Kafka.SASLMechanism == "PLAIN", "kafka.sasl_mechanism",
			"the SASL password", c.Kafka.Brokers, "set " + l.nameOf("kafka.tls") + " to true or use SCRAM-SHA-512",
		},
		{
			!c.Kafka.TLS && c.Kafka.SASLMechanism == oauthBearer, "kafka.sasl_mechanism",
			"the access token", c.Kafka.Brokers, "set " + l.nameOf("kafka.tls") + " to true",
		},
		{
			strings.HasPrefix(c.Kafka.SASLTokenURL, "http:"), "kafka.sasl_token_url",
			"the client secret and the access token", hostsOf(c.Kafka.SASLTokenURL), "use https://",
		},
		{
			!c.Redis.URL.TLS && (c.Redis.Password.IsSet() || c.Redis.SentinelPassword.IsSet()), "redis.url",
			"the password", c.Redis.URL.Addrs, "use rediss://",
		},
		{
			strings.HasPrefix(c.CRM.BaseURL, "http:"), "crm.base_url",
			"the access token and members' data", hostsOf(c.CRM.BaseURL, c.CRM.Proxy.Reveal()), "use https://",
		},
		{
			hasPlainPassword(c.CRM.ProxyURL()), "crm.proxy",
			"the proxy's password", hostsOf(c.CRM.Proxy.Reveal()), "use an https:// proxy",
		},
	} {
		if s.sends && slices.ContainsFunc(s.hosts, isRemote) {
			l.fault(l.nameOf(s.setting), s.what+" would be sent in the clear, and not only to this machine: "+s.instead+
				"; if the network is trusted, set "+l.nameOf("allow.plaintext")+" to true")
		}
	}
}

// hasPlainPassword reports whether a proxy's URL holds a password that no TLS protects.
func hasPlainPassword(u *url.URL) bool {
	if u == nil || u.Scheme == "https" {
		return false
	}
	_, has := u.User.Password()
	return has
}

// hostsOf returns the hosts of those URLs that have one.
func hostsOf(urls ...string) []string {
	var hosts []string
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// isRemote reports whether a host, with or without a port, may be another machine.
func isRemote(addr string) bool {
	host := addr
	if h, _, err := net.SplitHostPort(addr); err == nil {
		host = h
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return !ip.Unmap().IsLoopback()
	}
	return !strings.EqualFold(host, "localhost")
}
