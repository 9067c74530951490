package main

// faultCommands are those that hurt the service, or its servers, while it works, and those that look at how it spends its calls.
func faultCommands() []command {
	return []command{chaosCommand(), outageCommand(), kafkaCommand(), limitCommand(), backlogCommand()}
}
