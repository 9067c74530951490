package chaos

// A Scheduler describes an ideal service: how many records its buffer holds, and how many of one
// member it folds into a call.
type Scheduler struct{ Buffer, Fold int }

// Least returns the calls that an ideal service needs for a backlog, given as the members of its
// records in the order of the log. Before each call it fills its buffer in that order. It calls for
// the member with the most records in the buffer or, of several, for the one that has waited
// longest.
//
// This is not a proven minimum: a service that knew the rest of the log might sometimes choose
// better. With members drawn evenly the difference is small, and no service knows the rest.
func (s Scheduler) Least(backlog []int) int {
	q := newFullest()
	held, next, calls := 0, 0, 0
	for next < len(backlog) || held > 0 {
		for held < s.Buffer && next < len(backlog) {
			q.add(backlog[next], next)
			held++
			next++
		}
		held -= q.take(s.Fold)
		calls++
	}
	return calls
}

// A fullest finds the member with the most records. It groups the members by their number of
// records.
type fullest struct {
	count  map[int]int          // by member
	since  map[int]int          // the member's oldest record
	having map[int]map[int]bool // members by their count
	most   int                  // no member has more
}

func newFullest() *fullest {
	return &fullest{count: make(map[int]int), since: make(map[int]int), having: make(map[int]map[int]bool)}
}

func (q *fullest) add(member, record int) {
	if q.count[member] == 0 {
		q.since[member] = record
	}
	q.move(member, q.count[member]+1)
	q.most = max(q.most, q.count[member])
}

// take removes at most fold records of the member that has most, and returns their number.
func (q *fullest) take(fold int) int {
	for len(q.having[q.most]) == 0 {
		q.most--
	}
	member, found := 0, false
	for m := range q.having[q.most] {
		if !found || q.since[m] < q.since[member] {
			member, found = m, true
		}
	}
	n := min(q.most, fold)
	q.move(member, q.most-n)
	return n
}

func (q *fullest) move(member, to int) {
	from := q.count[member]
	delete(q.having[from], member)
	q.count[member] = to
	if to == 0 {
		return
	}
	if q.having[to] == nil {
		q.having[to] = make(map[int]bool)
	}
	q.having[to][member] = true
}
