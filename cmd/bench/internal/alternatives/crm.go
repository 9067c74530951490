package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	updatePath  = "/cgi/crm/v2/data/update"
	callTimeout = 10 * time.Second // as the service's
	keptConns   = 64               // more than either system has calls in flight
)

var errRefused = errors.New("the CRM refused the call")

// A crm sends updates over kept connections.
type crm struct {
	url, corpID, token string
	http               *http.Client
}

func newCRM(s settings) *crm {
	return &crm{url: s.crmURL + updatePath, corpID: s.corpID, token: s.token, http: &http.Client{
		Timeout:   callTimeout,
		Transport: &http.Transport{MaxIdleConns: keptConns, MaxIdleConnsPerHost: keptConns, DisableCompression: true},
	}}
}

// update sends what an event changed and checks the response.
func (c *crm) update(ctx context.Context, e event) error {
	body, err := json.Marshal(map[string]any{"corpAccessToken": c.token, "corpId": c.corpID, "user": e.user()})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"?thirdTraceId="+rand.Text(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body) // a connection whose response is not read to its end is not kept
	if err != nil {
		return err
	}
	var answer struct {
		Code *int `json:"errorCode"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%w: status %d: %w", errRefused, res.StatusCode, err)
	}
	if res.StatusCode != http.StatusOK || answer.Code == nil || *answer.Code != 0 {
		return fmt.Errorf("%w: status %d", errRefused, res.StatusCode)
	}
	return nil
}
