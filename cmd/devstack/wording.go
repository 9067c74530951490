package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"membersync/consumer"
	"membersync/crmapi"
	"membersync/crmapi/crmapitest"
	"membersync/mapper"
)

const longest = 100 // bytes of a value that are shown

func noteOf(rec mapper.Record) string {
	for _, h := range rec.Headers {
		if h.Key == noteHeader {
			return string(h.Value)
		}
	}
	return ""
}

func remark(note string) string {
	if note == "" {
		return ""
	}
	return "   [" + shown(note) + "]"
}

// content describes a record: what it changes, or its bytes if it is not an event.
func content(rec mapper.Record, r mapper.Result) string {
	var event struct {
		Sequence      json.RawMessage
		Before, After json.RawMessage
	}
	if r.Fault != nil && r.Fault.Whole || json.Unmarshal(rec.Value, &event) != nil || r.Event.EmployeeID == "" {
		return excerpt(rec.Value)
	}
	text := shown(r.Event.ID)
	if len(event.Sequence) > 0 {
		text += " sequence " + shown(string(event.Sequence))
	}
	if len(event.Before) > 0 {
		text += " before " + excerpt(event.Before)
	}
	return text + " after " + excerpt(event.After)
}

// excerpt returns the beginning of a value.
func excerpt(value []byte) string {
	switch {
	case value == nil:
		return "no value (a tombstone)"
	case len(value) > longest:
		return shown(string(value[:longest])) + fmt.Sprintf("… (%d bytes)", len(value))
	}
	return shown(string(value))
}

// shown quotes outside text that could move the cursor of a terminal.
func shown(text string) string {
	for _, r := range text {
		if !strconv.IsPrint(r) || r == '\uFFFD' {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}

// answerOf describes the CRM's response to a call that failed, and whether it is final: no later
// call with the same update can succeed.
func answerOf(err error) (answer string, isFinal bool) {
	e, ok := errors.AsType[*crmapi.Error](err)
	switch {
	case err == nil:
		return "", false
	case !ok:
		return "not sent", false
	case e.HasCode:
		answer = "errorCode " + strconv.Itoa(e.Code) + codeMeaning(e.Code)
	case e.Status != 0 && e.Status != http.StatusOK:
		answer = "HTTP " + strconv.Itoa(e.Status)
	default:
		answer = "no response"
	}
	return answer, e.Class == crmapi.ClassPoison
}

// codeMeaning explains the codes that samples cause.
func codeMeaning(code int) string {
	switch code {
	case systemBusy:
		return " (system busy)"
	case crmapitest.CodeNoMember:
		return " (unknown member)"
	case crmapitest.CodeNoDepartment:
		return " (unknown department)"
	case crmapitest.CodeRule:
		return " (invalid parameter)"
	case crmapitest.CodeDuplicate:
		return " (another member has it)"
	}
	return ""
}

// details describes what was sent of an event, what was left out, and why.
func details(end consumer.EventResult, fault string, call callState) string {
	switch end.Outcome {
	case consumer.DeadLettered:
		if fault == "" {
			fault = call.refused
		}
		return end.Reason + ": " + fault
	case consumer.Duplicate:
		return "no call"
	case consumer.Ignored:
		return end.Event.Ignored
	case consumer.Applied, consumer.Superseded, consumer.Unchanged:
	}
	var parts []string
	if sent := fieldsSent(end); len(sent) > 0 {
		parts = append(parts, "sent "+strings.Join(sent, ", ")+how(call))
	}
	parts = append(parts, leftOut(end.LeftOut)...)
	if len(parts) == 0 {
		return "before and after are the same"
	}
	return strings.Join(parts, "; ")
}

// how describes what is special about a call.
func how(call callState) string {
	var parts []string
	if call.events > 1 {
		parts = append(parts, fmt.Sprintf("one call for %d events", call.events))
	}
	if call.failed != "" {
		parts = append(parts, "repeated after "+call.failed)
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func fieldsSent(end consumer.EventResult) (sent []string) {
	for f := range end.Event.Update.All() {
		if _, out := end.LeftOut[f]; !out {
			sent = append(sent, f.String())
		}
	}
	return sent
}

// leftOut groups the fields by the reason why they were left out.
func leftOut(fields map[crmapi.Field]string) (parts []string) {
	byReason := map[string][]string{}
	for f := range crmapi.NumFields {
		if why, out := fields[crmapi.Field(f)]; out {
			byReason[why] = append(byReason[why], crmapi.Field(f).String())
		}
	}
	for why, names := range byReason {
		parts = append(parts, "left out "+strings.Join(names, ", ")+": "+why)
	}
	slices.Sort(parts)
	return parts
}
