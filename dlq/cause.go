package dlq

import (
	"regexp"
	"strings"
)

// variable matches the parts of an error text that differ between dead letters of one cause: ids in
// hexadecimal or of the form of a UUID, and numbers.
var variable = regexp.MustCompile(`[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4,})*\b|[0-9]+`)

// Cause returns what dead letters that need the same fix have in common: the reason, the CRM's
// errorCode if there is one, and the error text without variable parts.
func (d *DeadLetter) Cause() string {
	parts := []string{string(d.Reason)}
	if d.CRMCode != "" {
		parts = append(parts, d.CRMCode)
	}
	text := strings.TrimPrefix(d.Error, string(d.Reason)+": ")
	text = strings.ReplaceAll(text, "("+d.CRMCode+")", "")
	if text = strings.TrimSpace(variable.ReplaceAllString(text, "…")); text != "" {
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}
