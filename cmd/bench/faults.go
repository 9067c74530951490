package main

// faultCommands returns the commands that inject faults into the service or its servers, and those
// that check how it spends its calls.
func faultCommands() []command {
	return []command{chaosCommand(), outageCommand(), kafkaCommand(), rollingCommand(), limitCommand(), backlogCommand()}
}
