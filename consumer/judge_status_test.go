package consumer

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A status of 408 or from 500 up decides alone: an errorCode that nobody knows does not shorten the event's life.
func TestAServersErrorWithAnUnknownCode(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(answering{message: "failed"})
	t.Cleanup(server.Close)
	code := unknownCode
	checkCourse(t, server.URL, http.StatusRequestTimeout, &code)
	for status := 500; status <= 599; status++ {
		checkCourse(t, server.URL, status, &code)
	}
}
