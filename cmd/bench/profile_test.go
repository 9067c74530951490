package main

import (
	"errors"
	"testing"

	"membersync/crmapi/crmapitest"
)

// BenchmarkFakeCRM measures what the fake CRM costs. The bare client is another process, so that a
// profile (-cpuprofile) shows only the fake.
func BenchmarkFakeCRM(b *testing.B) {
	calls := bodies(b.N)
	crm, err := startCRM(b.Context(), crmapitest.Options{}, b.N)
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	_, err = startBare(b.Context(), crm.URL()+crmapitest.UpdatePath, 64, calls)
	b.StopTimer()
	if err := errors.Join(err, crm.Close(), crm.verify(b.N)); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(crm.rate(), "calls/s")
}
