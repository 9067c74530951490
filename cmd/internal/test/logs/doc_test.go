// Package logs compares cmd/LOGS.md with the log messages in the source of the program.
package logs
