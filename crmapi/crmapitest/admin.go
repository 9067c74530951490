package crmapitest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

const adminPrefix = "/_fake/"

// A Seed is a member that another process passes to the fake.
type Seed struct {
	OpenUserID string                     `json:"openUserId"`
	Fields     map[string]json.RawMessage `json:"fields"`
}

// serveAdmin is the API for other processes:
//
//	GET  /_fake/members  {openUserId: {field: value}}
//	GET  /_fake/log      [Seen]
//	GET  /_fake/stats    Stats
//	POST /_fake/seed     Seed or [Seed]
//	POST /_fake/fault    Fault or [Fault]; DELETE removes all
//	POST /_fake/hold     {"at": "before" or "after"}
//	POST /_fake/release
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, adminPrefix) {
	case "GET members":
		writeJSON(w, s.Snapshot())
	case "GET log":
		writeJSON(w, s.Log())
	case "GET stats":
		writeJSON(w, s.Stats())
	case "POST seed":
		accept(w, r, func(seed Seed) error {
			if seed.OpenUserID == "" {
				return errors.New("openUserId is required")
			}
			s.SetMember(seed.OpenUserID, seed.Fields)
			return nil
		})
	case "POST fault":
		accept(w, r, func(fault Fault) error { s.Push(fault); return nil })
	case "DELETE fault":
		s.Clear()
	case "POST hold":
		accept(w, r, s.serveBlock)
	case "POST release":
		s.Release()
	default:
		http.NotFound(w, r)
	}
}

func (s *Server) serveBlock(req struct {
	At Point `json:"at"`
},
) error {
	if req.At != BeforeEffect && req.At != AfterEffect {
		return errors.New(`at must be "before" or "after"`)
	}
	s.Block(req.At)
	return nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(mustJSON(v))
}

// accept decodes one T or a list of them from the body, and passes each to apply. It responds with
// status 400 if anything fails.
func accept[T any](w http.ResponseWriter, r *http.Request, apply func(T) error) {
	items, err := decode[T](http.MaxBytesReader(w, r.Body, maxRequestBody))
	if err == nil {
		for _, item := range items {
			err = errors.Join(err, apply(item))
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func decode[T any](body io.Reader) ([]T, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(raw))
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	var items []T
	err = dec.Decode(&items)
	return items, err
}
