// Package testbed is what programs need that exercise the service as a process on real servers, as an operator
// runs it: a Kafka and a Redis (given, or started and ended here), the binary, fresh topics, instances with their
// logs and what they use, an HTTP server that can be away, and fast producing.
//
//	var opts testbed.Options
//	opts.AddFlags(flags)                               // --kafka, --redis, --membersync, --keep
//	s, err := testbed.Open(ctx, opts)                  // starts what is not given, builds the binary
//	defer s.Close(ctx)                                 // ends all processes that it started
//	crm, err := testbed.Serve(ctx, handler)            // crm.Down() refuses connections until crm.Up()
//	job, err := s.NewJob(ctx, 6, crm.URL())            // a fresh topic, group and prefix in Redis
//	err = job.Produce(ctx, records)
//	i, err := job.Start(ctx, map[string]string{"CRM_RATE": "0"})
//	err = job.AwaitDrained(ctx)                        // until the group's lag is 0
//	usage, err := i.Usage()
//	err = i.Terminate(ctx)                             // or i.Kill(), which is kill -9
//	err = s.Redis().Kill(ctx)                          // and Start(ctx), on the same port
//
// Whatever waits ends with its context, and has a limit of its own besides.
package testbed
