package e2e

import (
	"maps"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"membersync/crmapi/crmapitest"
)

// TestNoKafkaPasswordLeaks logs in to a Kafka with a password: once with the right one, and once
// with a wrong one that contains the right one. It then searches all that is printed, served and
// stored.
func TestNoKafkaPasswordLeaks(t *testing.T) {
	t.Parallel()
	const user, password = "user-of-the-test", stem + "-kafka-password"
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, setup{partitions: 1, crm: crmapitest.Options{Tokens: []string{"token"}, AutoCreate: true}})
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, r.Topic), kfake.EnableSASL(), kfake.Superuser(mechanism, user, password))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(fake.Close)
			login := map[string]string{
				"KAFKA_BROKERS": fake.ListenAddrs()[0], "KAFKA_SASL_MECHANISM": mechanism, "KAFKA_SASL_USERNAME": user,
				"KAFKA_SASL_PASSWORD": password, "CRM_TOKEN": "token", "LOG_LEVEL": "debug",
			}
			good := r.start(login)
			good.awaitReady()
			h := &haystack{t: t}
			h.addAdmin([]*process{good})
			h.addStores(r)
			good.Stop()
			h.add("the output", good.Err.String())

			wrong := maps.Clone(login)
			wrong["KAFKA_SASL_PASSWORD"] = password + "-wrong"
			refused := r.start(wrong)
			refused.Await(0, "cannot start|start waits") // some brokers respond, others close the connection
			refused.End()
			h.add("the output when refused", refused.Err.String())
			needles := needlesFor("the password", password)
			if finds := h.search(needles, ""); len(finds) > 0 {
				t.Errorf("the password of Kafka where it must not be: %q", finds)
			}
		})
	}
}
