package simulation

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"membersync/cmd/internal/test/oracle/history"
)

// An answer is the response of a failing CRM.
type answer struct {
	status  int
	body    string
	html    bool
	unknown bool // leaves open whether the update took effect
}

func code(n int) answer {
	return answer{status: http.StatusOK, body: fmt.Sprintf(`{"traceId":"proxy","errorMessage":"failed","errorCode":%d}`, n)}
}

func page(status int, unknown bool) answer {
	return answer{status: status, body: "<html>failed</html>", html: true, unknown: unknown}
}

func (a answer) leavesOpen() answer { a.unknown = true; return a }

// answers returns the responses of a failing CRM by the name of the fault. hang, close and cut have
// no response.
func answers() map[string]answer {
	return map[string]answer{
		"busy": code(-1), "error": code(-2), "exception": code(50009).leavesOpen(),
		"500": page(500, true), "502": page(502, true), "408": page(408, true), "page": page(200, true),
		"429": page(429, false), "14001": code(14001), "30004": code(30004), "30002": code(30002),
		"401": page(401, false), "403": page(403, false), "302": page(302, false), "404": page(404, false),
		"15003": code(15003), "20006": code(20006), "20016": code(20016),
	}
}

// The faults by their effect on the service. Those of the first two lists can affect any request.
func lostBefore() []string { return []string{"close", "hang", "busy", "error"} }

func lostAfter() []string {
	return []string{"close", "hang", "cut", "exception", "500", "502", "408", "page"}
}

func outages() []string { return []string{"refuse", "hang", "close", "busy", "error", "500", "page"} }

func throttlings() []string { return []string{"429", "14001", "30004"} }

func operators() []string { return []string{"401", "403", "302", "404", "15003", "20006", "20016"} }

// faultKinds returns all kinds of faults as the tally counts them.
func faultKinds() []string {
	kinds := []string{
		"redis away", "redis emptied", "rebuild", "redis cut", "redis reply lost", "redis slow", "crm slow", "crm effect without a client",
		"crm late effect", "crm quota", "kafka cut", "rebalance", "duplicate", "reordered", "bad order", "tie", "stray", "reused id",
	}
	for prefix, names := range map[string][]string{
		"crm before: ": lostBefore(), "crm after: ": lostAfter(), "crm outage: ": outages(), "crm partial: ": outages(),
		"crm throttled: ": throttlings(), "crm operator: ": operators(), "crm sick: ": sicknesses(),
		"poison: ": poisonKinds(),
	} {
		for _, name := range names {
			kinds = append(kinds, prefix+name)
		}
	}
	for _, t := range kafkaFaults() {
		kinds = append(kinds, "kafka: "+t.name)
	}
	return append(kinds, themeKinds()...)
}

func sicknesses() []string { return []string{"hang", "busy", "500", "401", "exception"} }

// An incident is a period in which the calls of all members, or of a share of them, fail.
type incident struct {
	class, kind string
	from, to    time.Duration
	share       float64
}

// faults holds all faults of requests to the CRM.
type faults struct {
	w         *world
	incidents []incident
	rate      float64 // of faults of single requests
	sick      string  // the member whose calls fail
	sickness  incident
}

// A plan is what happens to one request.
type plan struct {
	latency       time.Duration
	before, after string // the fault before, or after, the effect
	orphan        bool   // the effect comes even if the client goes first
	retryAfter    string
}

// String describes the plan.
func (p plan) String() string {
	return fmt.Sprintf("after %v, before %q, after %q, orphan %v", p.latency, p.before, p.after, p.orphan)
}

// body returns the request again, for an effect without a client.
func (plan) body(call *history.Call) []byte {
	return fmt.Appendf(nil, `{"corpAccessToken":%q,"corpId":%q,"user":%s}`, token, corp, call.User)
}

func newFaults(w *world, members []string) *faults {
	r := w.random.roll("faults")
	v := &faults{w: w, rate: pick(r, 0, 0.05, 0.15), sick: "-"}
	if w.settings.storm.quiet {
		v.rate = 0
		return v
	}
	for range r.IntN(5) {
		v.incidents = append(v.incidents, v.incident(r))
	}
	if r.IntN(5) < 2 {
		v.sick = members[r.IntN(len(members))]
		from := between(r, 0, w.horizon/2)
		v.sickness = incident{share: 1, class: "sick", kind: pick(r, sicknesses()...), from: from, to: from + between(r, w.horizon/4, w.horizon)}
	}
	return v
}

func (v *faults) incident(r *rand.Rand) incident {
	from := between(r, 0, v.w.horizon)
	in := incident{share: 1, from: from, to: from + between(r, 3*time.Second, 25*time.Second)}
	switch r.IntN(7) {
	case 0, 1:
		in.class, in.kind = "outage", pick(r, outages()...)
	case 2, 3:
		in.class, in.kind, in.share = "partial", pick(r, outages()...), pick(r, 0.3, 0.5, 0.7)
	case 4:
		in.class, in.kind = "throttled", pick(r, throttlings()...)
	case 5:
		in.class, in.kind = "operator", pick(r, operators()...)
	default:
		in.class, in.kind = "quota", "30002"
	}
	return in
}

// affects reports whether an incident affects a member now.
func (v *faults) affects(in incident, member string) bool {
	now := v.w.elapsed()
	return !v.w.calm.Load() && in.from <= now && now < in.to &&
		(in.share == 1 || v.w.random.chance(in.share, "partial", in.from, member))
}

// refuses reports whether connections are refused.
func (v *faults) refuses() bool {
	for _, in := range v.incidents {
		if in.class == "outage" && in.kind == "refuse" && v.affects(in, "") {
			return true
		}
	}
	return false
}

func (v *faults) plan(call *history.Call, n int) plan {
	r := v.w.random.roll("request", call.Member, n)
	p := plan{latency: between(r, 5*time.Millisecond, 100*time.Millisecond), orphan: r.IntN(2) == 0}
	if v.w.calm.Load() {
		return p
	}
	if v.sick == call.Member && v.affects(v.sickness, call.Member) {
		return v.drawIncidentFault(r, p, v.sickness, call.Instance)
	}
	for _, in := range v.incidents {
		if v.affects(in, call.Member) {
			return v.drawIncidentFault(r, p, in, call.Instance)
		}
	}
	if r.Float64() < v.rate && n%4 != 0 { // the fourth attempt has no fault
		return v.drawSingleFault(r, p, call.Instance)
	}
	return p
}

// drawIncidentFault draws the fault of an incident. A fault that leaves open whether the update
// took effect comes before or after the effect.
func (v *faults) drawIncidentFault(r *rand.Rand, p plan, in incident, instance int) plan {
	kind := in.kind
	if in.class == "quota" {
		v.w.fired("crm quota", instance)
	} else {
		v.w.fired("crm "+in.class+": "+kind, instance)
	}
	if kind == "refuse" {
		kind = "close"
	}
	if in.class == "throttled" && r.IntN(2) == 0 {
		p.retryAfter = pick(r, "1", "3")
	}
	after := r.IntN(2) == 0 && (answers()[kind].unknown || kind == "hang" || kind == "close")
	if after {
		p.after = kind
	} else {
		p.before = kind
	}
	return p
}

// drawSingleFault draws a fault of a single request.
func (v *faults) drawSingleFault(r *rand.Rand, p plan, instance int) plan {
	switch r.IntN(4) {
	case 0:
		p.before = pick(r, lostBefore()...)
		v.w.fired("crm before: "+p.before, instance)
	case 1:
		p.after = pick(r, lostAfter()...)
		v.w.fired("crm after: "+p.after, instance)
	case 2:
		p.latency = between(r, 200*time.Millisecond, callTimeout-100*time.Millisecond)
		v.w.fired("crm slow", instance)
	default: // the effect comes after the client gave up
		p.latency, p.orphan = between(r, callTimeout+10*time.Millisecond, latestEffect), true
		v.w.fired("crm late effect", instance)
	}
	return p
}

// memberOf returns the openUserId of a member.
func memberOf(n int) string { return fmt.Sprintf("FSUID_TEST%04d", n) }

func employeeOf(member string) string { return "E" + strings.TrimPrefix(member, "FSUID_TEST") }
