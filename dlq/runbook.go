package dlq

import (
	_ "embed"
	"strings"
)

//go:embed RUNBOOK.md
var runbook string

// Runbook returns the section of RUNBOOK.md about a reason, or about a cause why the service does
// not work, in Markdown without its heading. It is empty if there is none.
func Runbook(subject string) string {
	var b strings.Builder
	level := 0 // of the heading of the section; 0: not found yet
	isCode := false
	for line := range strings.Lines(runbook) {
		if strings.HasPrefix(line, "```") {
			isCode = !isCode
		}
		depth := len(line) - len(strings.TrimLeft(line, "#"))
		switch {
		case isCode || depth == 0 || !strings.HasPrefix(line[depth:], " "):
			if level > 0 {
				b.WriteString(line)
			}
		case level > 0 && depth <= level:
			return strings.TrimSpace(b.String())
		case level == 0 && strings.Contains(line, "`"+subject+"`"):
			level = depth
		}
	}
	return strings.TrimSpace(b.String())
}
