// Package testbed runs the service as a process on real servers, as an operator does. It provides a
// Kafka and a Redis (given, or started and stopped here), the binary, new topics, instances with
// their logs and resource usage, an HTTP server that can be taken down, and a fast producer.
//
//	var opts testbed.Options
//	opts.AddFlags(flags)                     // --kafka, --redis, --membersync, --keep
//	s, err := testbed.Open(ctx, opts)        // starts what is not given, builds the binary
//	defer s.Close(ctx)                       // ends all processes that it started
//	crm, err := testbed.Serve(ctx, handler)  // crm.Down() refuses connections until crm.Up()
//	job, err := s.NewJob(ctx, 6, crm.URL())  // a new topic, group and prefix in Redis
//	err = job.Produce(ctx, records)
//	i, err := job.Start(ctx, map[string]string{"CRM_RATE": "0"})
//	err = job.AwaitDrained(ctx)              // until the group's lag is 0
//	usage, err := i.Usage()
//	err = i.Terminate(ctx)                   // or i.Kill(), which is kill -9
//	err = s.Redis().Kill(ctx)                // and Start(ctx), on the same port
//
// Every wait ends with its context and has its own time limit.
//
// The package must not import packages of the service: it knows only the binary, its settings, its
// log and its admin server.
package testbed
