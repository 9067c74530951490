package dlq

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// A ValueDigest returns the keyed digest by which an audit record names an edited value, in hex. It
// is safe for concurrent use. Nil means that there is no state key: no value can be edited, since
// the value of a request could not be told from any other one.
type ValueDigest func(value []byte) string

// NewValueDigest returns the digest under the state key: HMAC-SHA-256 of the value, after a prefix
// that sets it apart from other uses of the key. Without a key it returns nil.
func NewValueDigest(key []byte) ValueDigest {
	if len(key) == 0 {
		return nil
	}
	key = bytes.Clone(key)
	return func(value []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte("redrive value\x00"))
		mac.Write(value)
		return hex.EncodeToString(mac.Sum(nil))
	}
}

// Request returns the audit record of the redrive. It is written first, with [Auditor.Append]; its
// place then becomes the redrive's Audit.
func (r Redrive) Request(digest ValueDigest) AuditRecord {
	a := AuditRecord{
		At: r.At, Actor: r.By, Action: ActionRedrive, Subject: r.DeadLetter.ID(), Note: r.Note, Result: ResultRequested,
		Detail: Detail{DeadLetter: r.Place.String(), Number: r.Number, Edited: r.Edited},
	}
	if r.Edited && digest != nil {
		a.Detail.Digest = digest(r.DeadLetter.Value)
	}
	return a
}

// A MismatchError reports in which part a redrive differs from a record that it names.
type MismatchError struct {
	Of    string // "dead letter" or "audit record"
	Place Place
	What  string
}

// Error names the record and the part.
func (e *MismatchError) Error() string {
	return "the redrive differs from " + e.Of + " " + e.Place.String() + " in its " + e.What
}

// Check compares the redrive with the dead letter that it names. The error is a [*MismatchError].
func (r Redrive) Check(named DeadLetter) error {
	differs := func(what string) error { return &MismatchError{"dead letter", r.Place, what} }
	own := r.DeadLetter
	switch {
	case own.ID() != named.ID() || own.Source.Topic != named.Source.Topic || !own.Source.Timestamp.Equal(named.Source.Timestamp):
		return differs("source coordinates")
	case !bytes.Equal(own.Key, named.Key):
		return differs("key")
	case !r.Edited && !bytes.Equal(own.Value, named.Value):
		return differs("value, and has no header " + headerRedriveEdited)
	case r.Number <= named.Redrives:
		return differs("number: it is redrive " + strconv.Itoa(r.Number) + ", the dead letter is the failure of number " + strconv.Itoa(named.Redrives))
	}
	return nil
}

// IsRequestedBy reports whether an audit record requests a redrive of this dead letter under this
// number. It says nothing about the rest of the redrive, see [Redrive.CheckRequest].
func (r Redrive) IsRequestedBy(a AuditRecord) bool {
	return a.Action == ActionRedrive && a.Result == ResultRequested && a.Subject == r.DeadLetter.ID() && a.Detail.Number == r.Number
}

// CheckRequest compares the redrive with the audit record that it names. The error is a
// [*MismatchError].
func (r Redrive) CheckRequest(a AuditRecord, digest ValueDigest) error {
	differs := func(what string) error { return &MismatchError{"audit record", r.Audit, what} }
	switch {
	case a.Action != ActionRedrive || a.Result != ResultRequested:
		return differs("action: the record requests no redrive")
	case a.Subject != r.DeadLetter.ID() || a.Detail.DeadLetter != r.Place.String():
		return differs("dead letter")
	case a.Detail.Number != r.Number:
		return differs("number")
	case a.Actor != r.By:
		return differs("actor")
	case !a.At.Equal(r.At):
		return differs("time")
	case a.Note != r.Note:
		return differs("note")
	case a.Detail.Edited != r.Edited:
		return differs("header " + headerRedriveEdited)
	case r.Edited && digest == nil:
		return differs("value: it is edited, and without MEMBERSYNC_STATE_KEY none can be verified")
	case r.Edited && (r.DeadLetter.Value == nil || !hmac.Equal([]byte(digest(r.DeadLetter.Value)), []byte(a.Detail.Digest))):
		return differs("value: the digest is another one")
	}
	return nil
}

// IsOfEmployee reports whether the dead letter's event is of an employee. A dead letter that names
// no employee may be of any.
func (d DeadLetter) IsOfEmployee(id string) bool {
	return d.EmployeeID == "" || d.EmployeeID == clip(id, maxFactBytes)
}
