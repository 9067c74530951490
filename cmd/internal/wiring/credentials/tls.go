package credentials

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// TLSFiles says what TLS connections to one kind of server need.
type TLSFiles struct {
	CA         File   // certificates to check the server's against; no path: the system's
	Cert, Key  File   // the client's; no paths: none
	ServerName string // in the server's certificate; empty: the host of the address
	// AndSystem trusts the system's certificates in addition to CA.
	AndSystem bool
}

// TLS returns a function that returns the TLS configuration of the files as they are. It returns
// the same pointer until they change. The caller must not modify it.
func TLS(from Files, files TLSFiles) (func() *tls.Config, error) {
	var used []File
	for _, file := range []File{files.CA, files.Cert, files.Key} {
		if file.Path != "" {
			used = append(used, file)
		}
	}
	v, err := New(from, used, files.parse)
	if err != nil {
		return nil, err
	}
	return v.Get, nil
}

// parse makes a configuration of the contents of those files that have a path.
func (f TLSFiles) parse(contents [][]byte) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CA.Path != "" {
		c.RootCAs = x509.NewCertPool()
		if system, err := x509.SystemCertPool(); err == nil && f.AndSystem {
			c.RootCAs = system
		}
		if !c.RootCAs.AppendCertsFromPEM(contents[0]) {
			return nil, &FileError{f.CA, errors.New("the file holds no certificate in PEM")}
		}
		contents = contents[1:]
	}
	if f.Cert.Path == "" {
		return c, nil
	}
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, &FileError{f.Cert, &pairError{f.Key.Setting, err}}
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

type pairError struct {
	key string // the setting of the key's file
	err error
}

// Error names the other file and the cause.
func (e *pairError) Error() string { return "does not go with " + e.key + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *pairError) Unwrap() error { return e.err }

// Advice returns what to do about an error of a TLS connection, as a text to append to the error's.
// It is empty for other errors. Prefix begins the names of the server's settings, such as
// MEMBERSYNC_KAFKA_.
func Advice(err error, prefix string) string {
	expired, isInvalid := errors.AsType[x509.CertificateInvalidError](err)
	_, isUnknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, isOther := errors.AsType[x509.HostnameError](err)
	_, isPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case err == nil:
		return ""
	case isUnknown:
		return "; set " + prefix + "TLS_CA_FILE to the certificate of the authority that signed the server's"
	case isOther:
		return "; use a name of the certificate as the address, or set " + prefix + "TLS_SERVER_NAME to it"
	case isInvalid && expired.Reason == x509.Expired:
		return "; renew the server's certificate, or correct this machine's clock"
	case isPlain:
		return "; the server does not use TLS at this address"
	case isAlert(err, "certificate required"): // one of another authority is not sent at all
		return "; set " + prefix + "TLS_CERT_FILE and " + prefix + "TLS_KEY_FILE to the client's certificate and key, " +
			"signed by an authority that the server trusts"
	case isAlert(err, ""):
		return "; the server refuses " + prefix + "TLS_CERT_FILE, or shares no version of TLS"
	default:
		return ""
	}
}

// isAlert reports whether the server sent a TLS alert with a description; empty: any. crypto/tls
// does not export the type of an alert over TCP, only its text.
func isAlert(err error, description string) bool {
	return strings.Contains(err.Error(), "remote error: tls: "+description)
}
