package consumer

import "testing"

// An employee id is untrusted text. In a command that is copied from the log it must be one shell
// word.
func TestRepairCommandQuotesTheEmployeeID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"E-1_0.0:1@x": "E-1_0.0:1@x", "": "''", "E 1;reboot": "'E 1;reboot'", "E'1": `'E'\''1'`, "工号": "'工号'",
	} {
		if got := repairCommand(id); got != "membersync replay --from earliest --employee "+want+" --reapply" {
			t.Errorf("%q: %s", id, got)
		}
	}
}
