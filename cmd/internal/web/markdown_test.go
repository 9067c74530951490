package web

import (
	"strings"
	"testing"

	"membersync/dlq"
)

// Raw HTML and dangerous links of Markdown do not reach the page.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	got := string(markdown("Cause: a <script>alert(1)</script>.\nCheck: `x < y`, see [the *map*](../mapper/MAPPING.md),\n" +
		"[here](https://example.com/a) and [bad](javascript:alert(2)).\n\n<img src=x onerror=alert(3)>\n\n```sh\nmembersync <ID>\n```\n"))
	want := "<p><strong>Cause:</strong> a <!-- raw HTML omitted -->alert(1)<!-- raw HTML omitted -->.</p>\n" +
		"<p><strong>Check:</strong> <code>x &lt; y</code>, see the <em>map</em>,\n" +
		"<a href=\"https://example.com/a\">here</a> and bad.</p>\n<!-- raw HTML omitted -->\n" +
		"<pre><code class=\"language-sh\">membersync &lt;ID&gt;\n</code></pre>\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Each reason has a section that is rendered, with commands.
func TestRunbookSections(t *testing.T) {
	t.Parallel()
	for _, reason := range dlq.Reasons() {
		got := string(markdown(dlq.Runbook(string(reason))))
		if !strings.Contains(got, "<strong>Cause:</strong>") || !strings.Contains(got, "<pre><code") || strings.Contains(got, "omitted") {
			t.Errorf("%s: %s", reason, got)
		}
	}
}
