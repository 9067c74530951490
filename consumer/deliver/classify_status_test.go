package deliver

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A status of 408, or of 500 and above, decides alone: an unknown errorCode does not shorten the
// retry budget of the event.
func TestAServerErrorWithAnUnknownCodeIsUnacknowledged(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(responder{message: "failed"})
	t.Cleanup(server.Close)
	code := unknownCode
	checkDecision(t, server.URL, http.StatusRequestTimeout, &code)
	for status := 500; status <= 599; status++ {
		checkDecision(t, server.URL, status, &code)
	}
}
