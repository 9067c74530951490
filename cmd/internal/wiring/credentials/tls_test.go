package credentials_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"membersync/cmd/internal/wiring/credentials"
	"membersync/cmd/internal/wiring/credentials/certtest"
)

// named returns files whose settings begin with X_.
func named(ca, cert, key, serverName string) credentials.TLSFiles {
	return credentials.TLSFiles{
		CA: credentials.File{Setting: "X_TLS_CA_FILE", Path: ca}, Cert: credentials.File{Setting: "X_TLS_CERT_FILE", Path: cert},
		Key: credentials.File{Setting: "X_TLS_KEY_FILE", Path: key}, ServerName: serverName,
	}
}

func TestTLSFaults(t *testing.T) {
	t.Parallel()
	ca := certtest.NewAuthority(t)
	pair, other := ca.Issue(t), ca.Issue(t)
	d := &disk{files: map[string]string{
		"ca": string(ca.PEM), "cert": string(pair.Cert), "key": string(pair.Key), "other": string(other.Cert), "text": "canary",
	}}
	const unreadable = ": cannot read the file that it names: file does not exist"
	for _, tc := range []struct{ ca, cert, key, want string }{
		{"text", "", "", "X_TLS_CA_FILE: the file holds no certificate in PEM"},
		{"canary", "", "", "X_TLS_CA_FILE" + unreadable},
		{"ca", "canary", "key", "X_TLS_CERT_FILE" + unreadable},
		{"", "cert", "canary", "X_TLS_KEY_FILE" + unreadable},
		{"ca", "cert", "text", "X_TLS_CERT_FILE: does not go with X_TLS_KEY_FILE: tls: failed to find any PEM data in key input"},
		{"", "other", "key", "X_TLS_CERT_FILE: does not go with X_TLS_KEY_FILE: tls: private key does not match public key"},
	} {
		_, err := credentials.TLS(d.source(), named(tc.ca, tc.cert, tc.key, ""))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%+v: %v", tc, err)
		}
	}
	current, err := credentials.TLS(credentials.Files{}, named("", "", "", "name.test"))
	if err != nil || current().ServerName != "name.test" || current().RootCAs != nil {
		t.Errorf("no files: %v", err)
	}
}

// A pair that is replaced half-way stays as it was until both files are new.
func TestTLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ca := certtest.NewAuthority(t)
		pair, next := ca.Issue(t), ca.Issue(t)
		d := &disk{files: map[string]string{"ca": string(ca.PEM), "cert": string(pair.Cert), "key": string(pair.Key)}}
		current, err := credentials.TLS(d.source(), named("ca", "cert", "key", ""))
		if err != nil {
			t.Fatal(err)
		}
		first := current()
		d.write("cert", string(next.Cert))
		time.Sleep(time.Second)
		if current() != first || !strings.Contains(d.logged(), "does not go with X_TLS_KEY_FILE") {
			t.Error("half a pair is used, or the log does not say so")
		}
		d.write("key", string(next.Key))
		time.Sleep(time.Second)
		second := current()
		if second == first || second != current() || len(second.Certificates) != 1 {
			t.Error("the new pair is not used")
		}
	})
}

// Each problem of TLS that an operator can remove comes with what to do.
func TestAdvice(t *testing.T) {
	t.Parallel()
	ca, stranger := certtest.NewAuthority(t), certtest.NewAuthority(t)
	own, old := ca.Issue(t), ca.Issue(t, certtest.Expired)
	for name, tc := range map[string]struct {
		server  *tls.Config // nil: no TLS
		client  credentials.TLSFiles
		cause   string
		advised string
	}{
		"fits":              {ca.Issue(t).Server(t, ca), named("ca", "cert", "key", ""), "", ""},
		"server name":       {ca.Issue(t, certtest.Named("name.test")).Server(t, nil), named("ca", "", "", "name.test"), "", ""},
		"unknown authority": {stranger.Issue(t).Server(t, nil), named("ca", "", "", ""), "unknown authority", "set X_TLS_CA_FILE to"},
		"another name":      {ca.Issue(t, certtest.Named("name.test")).Server(t, nil), named("ca", "", "", ""), "127.0.0.1", "set X_TLS_SERVER_NAME to"},
		"expired":           {ca.Issue(t, certtest.Expired).Server(t, nil), named("ca", "", "", ""), "expired", "renew the server's certificate"},
		"no client's":       {ca.Issue(t).Server(t, ca), named("ca", "", "", ""), "certificate required", "set X_TLS_CERT_FILE and X_TLS_KEY_FILE to"},
		"another client's":  {ca.Issue(t).Server(t, stranger), named("ca", "cert", "key", ""), "required", "an authority that the server trusts"},
		"expired client's":  {ca.Issue(t).Server(t, ca), named("ca", "old-cert", "old-key", ""), "", "the server refuses X_TLS_CERT_FILE"},
		"no TLS":            {nil, named("ca", "", "", ""), "first record does not look like a TLS handshake", "the server does not use TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &disk{files: map[string]string{"ca": string(ca.PEM), "cert": string(own.Cert), "key": string(own.Key)}}
			d.files["old-cert"], d.files["old-key"] = string(old.Cert), string(old.Key)
			current, err := credentials.TLS(d.source(), tc.client)
			if err != nil {
				t.Fatal(err)
			}
			err = talk(t, serve(t, tc.server), current())
			if tc.cause == "" && tc.advised == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.cause) || !strings.Contains(credentials.Advice(err, "X_"), tc.advised) {
				t.Errorf("%v%s", err, credentials.Advice(err, "X_"))
			}
		})
	}
	if credentials.Advice(nil, "X_") != "" || credentials.Advice(context.Canceled, "X_") != "" {
		t.Error("advice about nothing")
	}
}

// serve runs a server that greets each client.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if config != nil {
				c = tls.Server(c, config)
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

// talk connects and reads: a client learns only then that its certificate is refused.
func talk(t *testing.T, addr string, config *tls.Config) error {
	t.Helper()
	c, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = c.Read(make([]byte, 5))
	return err
}
