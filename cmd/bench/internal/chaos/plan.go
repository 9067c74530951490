package chaos

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"
)

// A Kind is a kind of fault.
type Kind string

// The kinds of fault.
const (
	Kill       Kind = "kill -9 of an instance"
	Leave      Kind = "SIGTERM of an instance"
	BrokerStop Kind = "SIGTERM of the broker"
	BrokerKill Kind = "kill -9 of the broker"
	RedisStop  Kind = "SIGTERM of Redis"
	RedisKill  Kind = "kill -9 of Redis"
	CutKafka   Kind = "cut to Kafka"
	CutRedis   Kind = "cut to Redis"
	CutCRM     Kind = "cut to the CRM"
)

// Kinds lists the kinds of fault.
func Kinds() []Kind {
	return []Kind{Kill, Leave, BrokerStop, BrokerKill, RedisStop, RedisKill, CutKafka, CutRedis, CutCRM}
}

// A Fault is one fault of the plan.
type Fault struct {
	Kind     Kind
	At       time.Duration // since the start of the trial
	Instance int           // the instance; a cut to the CRM affects all
	Way      Way           // of a cut
	Lasts    time.Duration // of a cut; of a kill or a stop, until the start
}

// perTenMinutes returns how often each kind occurs in ten minutes.
func perTenMinutes() map[Kind]int {
	return map[Kind]int{
		Kill: 66, Leave: 24, BrokerStop: 4, BrokerKill: 4, RedisStop: 4, RedisKill: 4, CutKafka: 18, CutRedis: 18, CutCRM: 18,
	}
}

// The bounds of a fault's duration. Half of the instances start again at once.
const (
	startLate  = 2 * time.Second
	cutShort   = 200 * time.Millisecond
	cutLong    = 4 * time.Second
	serverDown = time.Second
)

// Kills come in bursts, so that the group has time between them to settle and to call: killing an
// instance that waits proves little.
const (
	burst       = 3
	burstLength = 1500 * time.Millisecond
)

// Plan draws faults from the seed: the numbers above for ten minutes, proportionally fewer for less
// time, and at least one of each kind.
func Plan(seed uint64, length time.Duration, instances int) []Fault {
	rng := rand.New(rand.NewPCG(seed, 2))
	var plan []Fault
	for _, kind := range Kinds() {
		n := max(1, int(time.Duration(perTenMinutes()[kind])*length/(10*time.Minute)))
		for i := range n {
			f := draw(rng, kind, length, instances)
			if kind == Kill && i%burst > 0 {
				f.At = plan[len(plan)-i%burst].At + between(rng, 0, burstLength)
			}
			plan = append(plan, f)
		}
	}
	slices.SortStableFunc(plan, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	return plan
}

func draw(rng *rand.Rand, kind Kind, length time.Duration, instances int) Fault {
	f := Fault{Kind: kind, At: between(rng, length/50, length-length/20), Instance: rng.IntN(instances)}
	switch kind {
	case Kill, Leave:
		if rng.IntN(2) == 0 {
			f.Lasts = between(rng, 0, startLate)
		}
	case BrokerStop, BrokerKill, RedisStop, RedisKill:
		f.Lasts = between(rng, 0, serverDown)
	case CutKafka, CutRedis, CutCRM:
		f.Way, f.Lasts = Ways()[rng.IntN(len(Ways()))], between(rng, cutShort, cutLong)
	}
	return f
}

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rng.Int64N(int64(high-low)))
}
