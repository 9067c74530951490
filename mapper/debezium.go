package mapper

import "membersync/mapper/internal/jsontree"

// connectPayload takes the payload from Kafka Connect's envelope of schema and payload.
func connectPayload(v jsontree.Value) jsontree.Value {
	payload := v.Member("payload")
	if payload.Absent() || v.Member("schema").Absent() || v.Len() != 2 {
		return v
	}
	return payload
}

// debeziumNews says what the envelope alone tells of an event: why it is ignored, or
// what is wrong with it.
func debeziumNews(doc jsontree.Value, op jsontree.Value) (ignored, problem string) {
	if op.Absent() {
		return bookkeeping(doc)
	}
	if op.IsText() {
		switch op.Text() {
		case "c", "u", "r":
			return "", ""
		case "d":
			return "deletion", ""
		case "t":
			return "truncate", ""
		case "m":
			return "message", ""
		}
	}
	return "", "is not one of c, u, r, d, t and m"
}

// bookkeeping recognises Debezium's records that are about no row.
func bookkeeping(doc jsontree.Value) (ignored, problem string) {
	status := doc.Member("status")
	switch {
	case !doc.Member("ddl").Absent() || !doc.Member("tableChanges").Absent():
		return "schema change", ""
	case status.IsText() && (status.Text() == "BEGIN" || status.Text() == "END") && !doc.Member("id").Absent():
		return "transaction marker", ""
	case doc.Len() == 1 && !doc.Member("ts_ms").Absent():
		return "heartbeat", ""
	}
	return "", "is missing"
}

// flatDeleted reports whether a flattened row says that it was deleted.
func flatDeleted(row jsontree.Value) bool {
	deleted, op := row.Member("__deleted"), row.Member("__op")
	return string(deleted.Raw()) == "true" || deleted.IsText() && deleted.Text() == "true" || op.IsText() && op.Text() == "d"
}
