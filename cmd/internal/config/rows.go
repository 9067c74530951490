package config

import (
	"log/slog"
	"time"

	"membersync/crmapi"
)

// fileSettings holds the YAML file itself, which has no field: load reads it.
func fileSettings() []setting {
	s := row("config", "", optional("the path of a YAML file"), func(*Config) *string { return new(string) },
		"the YAML file; empty: none")
	return []setting{s.forMapping()}
}

func kafkaSettings() []setting {
	return []setting{
		row("kafka.brokers", "localhost:9092", kind[[]string]{nonEmptyList(address), "host:port, or several, comma-separated"},
			func(c *Config) *[]string { return &c.Kafka.Brokers }, "brokers to bootstrap from").asPrivate(),
		row("kafka.topic", "hris.employee.changed", topicName(),
			func(c *Config) *string { return &c.Kafka.Topic }, "source topic"),
		row("kafka.group", "membersync", aName(),
			func(c *Config) *string { return &c.Kafka.Group }, "consumer group"),
		boolRow("kafka.tls", "false",
			func(c *Config) *bool { return &c.Kafka.TLS }, "TLS to the brokers"),
		row("kafka.tls_ca_file", "", pemFile(),
			func(c *Config) *string { return &c.Kafka.TLSCAFile }, "root certificates (PEM); empty: the system's"),
		row("kafka.tls_cert_file", "", pemFile(),
			func(c *Config) *string { return &c.Kafka.TLSCertFile }, "the client's certificate; empty: none"),
		row("kafka.tls_key_file", "", pemFile(),
			func(c *Config) *string { return &c.Kafka.TLSKeyFile }, "the client's key; empty: none"),
		row("kafka.tls_server_name", "", hostName(),
			func(c *Config) *string { return &c.Kafka.TLSServerName }, "name in the brokers' certificates; empty: the host"),
		row("kafka.sasl_mechanism", "",
			kind[string]{oneOf("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", oauthBearer), "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"},
			func(c *Config) *string { return &c.Kafka.SASLMechanism }, "authentication at the brokers; empty: none"),
		row("kafka.sasl_username", "", optional("a name"),
			func(c *Config) *string { return &c.Kafka.SASLUsername }, "user of PLAIN and SCRAM"),
		secretRow("kafka.sasl_password",
			func(c *Config) *Secret { return &c.Kafka.SASLPassword }, "password of PLAIN and SCRAM"),
		row("kafka.sasl_token_url", "", kind[string]{tokenURL, "an http or https URL without user and fragment"},
			func(c *Config) *string { return &c.Kafka.SASLTokenURL }, "token endpoint of OAUTHBEARER, for client credentials").asPrivate(),
		row("kafka.sasl_client_id", "", optional("a name"),
			func(c *Config) *string { return &c.Kafka.SASLClientID }, "client of OAUTHBEARER"),
		secretRow("kafka.sasl_client_secret",
			func(c *Config) *Secret { return &c.Kafka.SASLClientSecret }, "secret of that client"),
		row("kafka.auto_offset_reset", "earliest", kind[string]{oneOf("earliest", "latest"), "earliest or latest"},
			func(c *Config) *string { return &c.Kafka.AutoOffsetReset }, "start of a group without offsets"),
		row("kafka.buffer_records", "20000", number(),
			func(c *Config) *int { return &c.Kafka.BufferRecords }, "records fetched and not finished, at most"),
		row("kafka.buffer_bytes", "32MiB", byteSize(),
			func(c *Config) *int64 { return &c.Kafka.BufferBytes }, "bytes of those records, at most"),
		row("kafka.max_record_bytes", "1MiB", byteSize(),
			func(c *Config) *int64 { return &c.Kafka.MaxRecordBytes }, "a larger record is dead-lettered as oversized").forMapping(),
		boolRow("kafka.create_topics", "true",
			func(c *Config) *bool { return &c.Kafka.CreateTopics }, "create its own three topics; never the source topic"),
	}
}

func dlqSettings() []setting {
	return []setting{
		row("dlq.topic", "<topic>.dlq", topicName(),
			func(c *Config) *string { return &c.DLQ.Topic }, "topic of dead letters"),
		row("dlq.redrive_topic", "<topic>.redrive", topicName(),
			func(c *Config) *string { return &c.DLQ.RedriveTopic }, "topic of what is to be run again"),
		row("dlq.retention", "720h", duration(time.Second),
			func(c *Config) *time.Duration { return &c.DLQ.Retention }, "retention of the dead-letter and audit topics when created"),
		row("dlq.storm_share", "0.5", kind[float64]{share, "a number from 0 to 1"},
			func(c *Config) *float64 { return &c.DLQ.StormShare },
			"storm guard: share of rejected events; 0: off"),
		row("audit.topic", "<topic>.audit", topicName(),
			func(c *Config) *string { return &c.Audit.Topic }, "topic of who did what"),
	}
}

func redisSettings() []setting {
	return []setting{
		row("redis.url", "redis://localhost:6379/0",
			kind[RedisURL]{redisURL, "redis://host:port/db or rediss://…, several addresses comma-separated, sentinels with ?master_name=NAME"},
			func(c *Config) *RedisURL { return &c.Redis.URL }, "where Redis is").asPrivate(),
		row("redis.mode", "single", kind[string]{oneOf("single", "sentinel", "cluster"), "single, sentinel or cluster"},
			func(c *Config) *string { return &c.Redis.Mode }, "what is at the URL"),
		row("redis.username", "", optional("a name"),
			func(c *Config) *string { return &c.Redis.Username }, "ACL user; empty: the default user"),
		secretRow("redis.password",
			func(c *Config) *Secret { return &c.Redis.Password }, "password of Redis"),
		row("redis.tls_ca_file", "", pemFile(),
			func(c *Config) *string { return &c.Redis.TLSCAFile }, "root certificates (PEM); empty: the system's"),
		row("redis.tls_cert_file", "", pemFile(),
			func(c *Config) *string { return &c.Redis.TLSCertFile }, "the client's certificate; empty: none"),
		row("redis.tls_key_file", "", pemFile(),
			func(c *Config) *string { return &c.Redis.TLSKeyFile }, "the client's key; empty: none"),
		row("redis.tls_server_name", "", hostName(),
			func(c *Config) *string { return &c.Redis.TLSServerName }, "name in Redis' certificate; empty: the host"),
		row("redis.sentinel_username", "", optional("a name"),
			func(c *Config) *string { return &c.Redis.SentinelUsername }, "ACL user at the sentinels; empty: the default user"),
		secretRow("redis.sentinel_password",
			func(c *Config) *Secret { return &c.Redis.SentinelPassword }, "password of the sentinels"),
		row("redis.prefix", "ms", kind[string]{prefix, "printable text without blanks and braces"},
			func(c *Config) *string { return &c.Redis.Prefix }, "beginning of every key"),
	}
}

func stateSettings() []setting {
	return []setting{
		row("state.done_ttl", "336h", duration(time.Second),
			func(c *Config) *time.Duration { return &c.State.DoneTTL }, "how long an event id is remembered"),
		row("state.member_ttl", "0", durationOrNone(time.Second),
			func(c *Config) *time.Duration { return &c.State.MemberTTL },
			"expiry of versions of a member without events; 0: never"),
		stateKeyRow("state.key",
			func(c *Config) *Secret { return &c.State.Key },
			"key of all hashes in Redis; turns on digests"),
		row("state.digest_ttl", "24h", duration(time.Second),
			func(c *Config) *time.Duration { return &c.State.DigestTTL }, "how long a digest counts as what the CRM holds"),
		row("order.max_ahead", "24h", duration(time.Second),
			func(c *Config) *time.Duration { return &c.Order.MaxAhead }, "how far an event's time may be ahead of its record's").forMapping(),
	}
}

func crmSettings() []setting {
	return []setting{
		row("crm.base_url", "", kind[string]{baseURL, "an http or https URL without user, query and fragment"},
			func(c *Config) *string { return &c.CRM.BaseURL }, "address of the CRM").asRequired().asPrivate(),
		row("crm.path", "/cgi/crm/v2/data/update", kind[string]{urlPath, "a path that begins with /"},
			func(c *Config) *string { return &c.CRM.Path }, "path of the Modify Member API").asPrivate(),
		row("crm.api", "user", kind[string]{oneOf("user", "object"), "user or object"},
			func(c *Config) *string { return &c.CRM.API }, "form of an update").forMapping(),
		row("crm.object_fields", "", kind[crmapi.Object]{objectFields, "field:name or field:name:form, comma-separated, each field once, such as position:position,hireDate:hire_date"},
			func(c *Config) *crmapi.Object { return &c.CRM.Object }, "unpublished names of the object API").forMapping(),
		row("crm.corp_id", "", kind[string]{nonEmpty, "the company's id on the CRM's open platform"},
			func(c *Config) *string { return &c.CRM.CorpID }, "the company on the CRM's open platform").asRequired(),
		secretRow("crm.token",
			func(c *Config) *Secret { return &c.CRM.Token }, "a fixed access token, or else the three below"),
		row("crm.app_id", "", optional("the app's id"),
			func(c *Config) *string { return &c.CRM.AppID }, "the app that fetches and renews tokens"),
		secretRow("crm.app_secret",
			func(c *Config) *Secret { return &c.CRM.AppSecret }, "the app's secret"),
		secretRow("crm.permanent_code",
			func(c *Config) *Secret { return &c.CRM.PermanentCode }, "the company's authorization of the app"),
		row("crm.rate", "100/20s", kind[Rate]{rate, "calls/window such as 100/20s, or 0 for no limit"},
			func(c *Config) *Rate { return &c.CRM.Rate }, "limit that all instances share through Redis; 0 for none"),
		row("crm.quota_reset", "00:00 Asia/Shanghai", kind[ClockTime]{clockTime, "a time of day and a zone such as 00:00 Asia/Shanghai"},
			func(c *Config) *ClockTime { return &c.CRM.QuotaReset }, "when the daily quota starts again"),
		row("crm.concurrency", "64", number(),
			func(c *Config) *int { return &c.CRM.Concurrency }, "calls in flight, at most"),
		row("crm.timeout", "10s", duration(time.Millisecond),
			func(c *Config) *time.Duration { return &c.CRM.Timeout }, "of one attempt"),
		row("crm.retry_budget", "5m", duration(time.Second),
			func(c *Config) *time.Duration { return &c.CRM.RetryBudget }, "retries of one event while others succeed"),
		row("crm.error_codes", "",
			kind[crmapi.Table]{errorCodes, "code:class or code:poison:reason, comma-separated, each code once, such as 201112011:poison:crm_invalid"},
			func(c *Config) *crmapi.Table { return &c.CRM.ErrorCodes }, "more rows for the error table"),
	}
}

// connectionSettings holds how the CRM is connected to, and what applies to all connections.
func connectionSettings() []setting {
	return []setting{
		row("crm.tls_ca_file", "", pemFile(),
			func(c *Config) *string { return &c.CRM.TLSCAFile }, "root certificates (PEM); empty: the system's"),
		row("crm.tls_cert_file", "", pemFile(),
			func(c *Config) *string { return &c.CRM.TLSCertFile }, "the client's certificate; empty: none"),
		row("crm.tls_key_file", "", pemFile(),
			func(c *Config) *string { return &c.CRM.TLSKeyFile }, "the client's key; empty: none"),
		row("crm.tls_server_name", "", hostName(),
			func(c *Config) *string { return &c.CRM.TLSServerName }, "name in the CRM's certificate; empty: the host"),
		row("crm.proxy", "", kind[Secret]{proxyURL, "http://host:port, https://host:port or socks5://host:port, with user:password@ if needed"},
			func(c *Config) *Secret { return &c.CRM.Proxy },
			"proxy of calls and token fetches; empty: none").asPrivate(),
		boolRow("allow.plaintext", "false",
			func(c *Config) *bool { return &c.AllowPlaintext }, "send credentials without TLS beyond loopback"),
	}
}

func mappingSettings() []setting {
	return []setting{
		row("mapping", "canonical", kind[string]{nonEmpty, "canonical, canonical-time, cloudevents, debezium, or the path of a file"},
			func(c *Config) *string { return &c.Mapping }, "from events to updates").forMapping(),
		row("timezone", "", kind[*time.Location]{optionalZone, "a zone such as Asia/Shanghai"},
			func(c *Config) **time.Location { return &c.Timezone }, "of dates without one; empty: such a date is invalid_field").forMapping(),
	}
}

func serviceSettings() []setting {
	return []setting{
		row("shutdown.timeout", "25s", duration(time.Millisecond),
			func(c *Config) *time.Duration { return &c.ShutdownTimeout }, "limit of the drain after SIGTERM"),
		row("admin.addr", "127.0.0.1:8080", kind[string]{listenAddress, "host:port or :port"},
			func(c *Config) *string { return &c.Admin.Addr }, "/livez, /readyz, /metrics; empty: none"),
		row("ui.addr", "127.0.0.1:8081", kind[string]{listenAddress, "host:port or :port"},
			func(c *Config) *string { return &c.UI.Addr }, "membersync ui: address of the web pages"),
		secretRow("ui.token",
			func(c *Config) *Secret { return &c.UI.Token }, "operators log in with it; one is required beyond loopback"),
		secretRow("ui.viewer_token",
			func(c *Config) *Secret { return &c.UI.ViewerToken }, "viewers log in with it; they change and reveal nothing"),
		row("ui.user_header", "", kind[string]{headerName, "the name of an HTTP header, such as X-Forwarded-User"},
			func(c *Config) *string { return &c.UI.UserHeader }, "header of a proxy that names the actor; empty: the form asks"),
		row("log.level", "info", kind[slog.Level]{level, "debug, info, warn or error"},
			func(c *Config) *slog.Level { return &c.Log.Level }, "least severe level logged"),
		row("log.format", "json", kind[string]{oneOf("json", "text"), "json or text"},
			func(c *Config) *string { return &c.Log.Format }, "form of a log line"),
	}
}
