package config

import (
	"slices"
	"strings"
)

// A checker checks settings that belong together, once all of them are read.
type checker struct{ *loader }

// checkTogether applies the rules between settings and moves the URL's user and password to their
// fields.
func (l checker) checkTogether(c *Config) {
	l.checkTLS("kafka", c.Kafka.TLS, l.nameOf("kafka.tls")+" to be true")
	l.checkTLS("redis", c.Redis.URL.TLS || len(c.Redis.URL.Addrs) == 0, l.nameOf("redis.url")+" to begin with rediss://")
	l.checkTLS("crm", !strings.HasPrefix(c.CRM.BaseURL, "http:"), l.nameOf("crm.base_url")+" to begin with https://")
	l.checkSASL(c.Kafka.SASLMechanism)
	l.checkTopics(c)
	l.checkRedis(c)
	l.checkMemberTTL(c.State)
	l.checkToken()
	l.checkProxy(c)
	l.checkPlaintext(c)
}

// checkTLS wants the settings of a section's TLS only where there is TLS.
func (l checker) checkTLS(section string, on bool, needs string) {
	cert, key := section+".tls_cert_file", section+".tls_key_file"
	for _, name := range []string{section + ".tls_ca_file", cert, key, section + ".tls_server_name"} {
		if l.isSet(name) && !on {
			l.fault(l.nameOf(name), "needs "+needs)
		}
	}
	l.together(cert, key)
	l.together(key, cert)
}

const oauthBearer = "OAUTHBEARER"

// checkSASL wants what the mechanism needs, and nothing else.
func (l checker) checkSASL(mechanism string) {
	password := []string{"kafka.sasl_username", "kafka.sasl_password"}
	token := []string{"kafka.sasl_token_url", "kafka.sasl_client_id", "kafka.sasl_client_secret"}
	needed, others, whose := password, token, oauthBearer
	if mechanism == oauthBearer {
		needed, others, whose = token, password, "PLAIN and SCRAM"
	}
	l.together("kafka.sasl_mechanism", needed...)
	for _, name := range append(password, token...) {
		l.together(name, "kafka.sasl_mechanism")
	}
	for _, name := range others {
		if mechanism != "" && l.isSet(name) {
			l.fault(l.nameOf(name), "is for "+whose+", and "+l.nameOf("kafka.sasl_mechanism")+" is "+mechanism)
		}
	}
}

// checkProxy wants a password from the environment only, and no server name that would be the
// proxy's too.
func (l checker) checkProxy(c *Config) {
	u, name := c.CRM.ProxyURL(), l.nameOf("crm.proxy")
	if u == nil {
		return
	}
	_, hasPassword := u.User.Password()
	if g, ok := l.find("crm.proxy"); ok && g.from != fromEnvironment && hasPassword {
		l.fault(name, "a password in it is taken only from MEMBERSYNC_CRM_PROXY")
	}
	if u.Scheme == "https" && c.CRM.TLSServerName != "" {
		l.fault(l.nameOf("crm.tls_server_name"), "would be expected of the proxy too; use an http:// or socks5:// proxy, or leave it out")
	}
}

// together reports the others that are missing next to a setting.
func (l checker) together(name string, others ...string) {
	if !l.isSet(name) {
		return
	}
	for _, other := range others {
		if !l.isSet(other) {
			l.fault(l.nameOf(name), "needs "+l.nameOf(other)+" too")
		}
	}
}

// checkTopics wants four topics: a dead letter in the source topic would go round
// for ever.
func (l checker) checkTopics(c *Config) {
	names := []string{"kafka.topic", "dlq.topic", "dlq.redrive_topic", "audit.topic"}
	topics := []string{c.Kafka.Topic, c.DLQ.Topic, c.DLQ.RedriveTopic, c.Audit.Topic}
	for i, topic := range topics {
		if first := slices.Index(topics, topic); first < i && topic != "" {
			l.fault(l.nameOf(names[i]), "is the topic of "+l.nameOf(names[first])+" too; the four differ")
		}
	}
}

func (l checker) checkRedis(c *Config) {
	u := &c.Redis.URL
	name := l.nameOf("redis.url")
	if g, ok := l.find("redis.url"); ok && g.from != fromEnvironment && u.password.IsSet() {
		l.fault(name, "a password in it is taken only from MEMBERSYNC_REDIS_URL")
	}
	if u.password.IsSet() && l.isSet("redis.password") {
		l.fault(l.nameOf("redis.password"), "is set, and "+name+" holds a password: one of them too many")
	}
	if u.username != "" && l.isSet("redis.username") {
		l.fault(l.nameOf("redis.username"), "is set, and "+name+" holds a user: one of them too many")
	}
	l.checkRedisMode(c.Redis.Mode, *u, name)
	if u.password.IsSet() {
		c.Redis.Password = u.password
	}
	if u.username != "" {
		c.Redis.Username = u.username
	}
	u.username, u.password = "", Secret{}
	for _, setting := range []string{"redis.sentinel_username", "redis.sentinel_password"} {
		if l.isSet(setting) && c.Redis.Mode != "sentinel" {
			l.fault(l.nameOf(setting), "is for "+l.nameOf("redis.mode")+" sentinel")
		}
	}
	l.together("redis.sentinel_username", "redis.sentinel_password")
	if c.Redis.Username != "" && !c.Redis.Password.IsSet() && !l.isSet("redis.password") {
		l.fault(l.nameOf("redis.username"), "needs "+l.nameOf("redis.password")+" too")
	}
}

func (l checker) checkRedisMode(mode string, u RedisURL, name string) {
	switch {
	case len(u.Addrs) == 0: // wrong already
	case mode == "single" && len(u.Addrs) > 1:
		l.fault(name, "several addresses need "+l.nameOf("redis.mode")+" to be sentinel or cluster")
	case mode != "sentinel" && u.MasterName != "":
		l.fault(name, "master_name is for "+l.nameOf("redis.mode")+" sentinel")
	case mode == "cluster" && u.DB != 0:
		l.fault(name, "a cluster has no database but 0")
	}
}

// checkMemberTTL wants no done mark to outlive the versions: a replay could then not bring the
// newest value back that an older event has replaced.
func (l checker) checkMemberTTL(s State) {
	if s.MemberTTL > 0 && s.MemberTTL < s.DoneTTL {
		l.fault(l.nameOf("state.member_ttl"), "is shorter than "+l.nameOf("state.done_ttl")+", which is "+s.DoneTTL.String()+
			"; set at least that, or 0")
	}
}

// checkToken wants a fixed token, or all that fetches one.
func (l checker) checkToken() {
	fetch := []string{"crm.app_id", "crm.app_secret", "crm.permanent_code"}
	anyFetch := slices.ContainsFunc(fetch, l.isSet)
	switch {
	case l.isSet("crm.token") && anyFetch:
		for _, name := range fetch {
			if l.isSet(name) {
				l.fault(l.nameOf(name), "is set, and so is "+l.nameOf("crm.token")+": a fixed token is not fetched")
			}
		}
	case !l.isSet("crm.token") && !anyFetch:
		l.fault(l.nameOf("crm.token"), "is required, or else app id, app secret and permanent code ("+
			l.nameOf("crm.app_id")+", "+l.nameOf("crm.app_secret")+", "+l.nameOf("crm.permanent_code")+")")
	case anyFetch:
		for _, name := range fetch {
			if !l.isSet(name) {
				l.fault(l.nameOf(name), "is required to fetch tokens")
			}
		}
	}
}
