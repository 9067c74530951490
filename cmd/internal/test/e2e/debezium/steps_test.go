package debezium

import (
	"fmt"
	"os"
	"testing"
)

// The rows of the table at the start, and those that the bulk delete takes.
const (
	people    = 1300
	firstGone = 301
	lastGone  = 1300
)

// linked sets a member where the row has none.
const linked = "crm_open_user_id = coalesce(crm_open_user_id, concat('FSUID_NEW', emp_no))"

// snapshot starts the connector while rows change.
func snapshot(t *testing.T, r *rig) {
	t.Helper()
	r.table.execute(t, r.table.insert(1, people))
	o := r.stepDuring(t, "initial snapshot, changes during it", people, func(t *testing.T) {
		t.Helper()
		r.connect.start(t)
		r.awaitRecords(t, people+100)
	})
	if o.ops["r"] != people || o.during == 0 {
		t.Errorf("the snapshot was not taken while rows changed: %v", o.tally)
	}
}

// rowChanges change rows whose key and member stay.
func rowChanges(t *testing.T, r *rig) {
	t.Helper()
	r.run(t, "inserts", r.table.insert(2001, 2100))
	r.run(t, "updates of mapped columns",
		update("title = concat('Sample Lead ', emp_no), dept_id = dept_id + 1, hire_date = '2021-03-04'", 1, 100))
	r.run(t, "updates of other columns", update("salary = salary + 1", 1, 300)).noCalls(t)
	r.run(t, "values become NULL", update("title = NULL, email = NULL, extra_depts = NULL, nickname = NULL, "+
		"gender = NULL, birth_date = NULL", 1, 60))
	r.run(t, "values become empty", update("title = '', email = '', nickname = '', extra_depts = "+r.table.d.list(), 61, 120))
	r.run(t, "NULL and empty become values", update("title = 'Sample Clerk', email = concat('n', emp_no, '@example.com'), "+
		"nickname = concat('np', emp_no), gender = '"+r.table.gender(2)+"', birth_date = '1969-12-31', "+
		"extra_depts = "+r.table.d.list(3, 4), 1, 120))
	r.run(t, "dates at the edges", update("hire_date = "+r.table.d.noDate(), 1, 10), update("hire_date = '9999-12-31'", 11, 20),
		update("birth_date = '1900-01-01'", 21, 30), update("birth_date = '1988-07-01', hire_date = '1970-01-01'", 31, 40))
	r.run(t, "ten changes of each row, alone and in one transaction", tenChanges(1, 40)...)
	r.run(t, "a transaction that is rolled back", "BEGIN", update("title = 'Sample Never'", 1, 300), "ROLLBACK").noCalls(t)
	r.run(t, "texts in other scripts",
		update("full_name = concat('示例 <Å> \"', emp_no, '\" 😀'), title = 'a\tb'", 100, 140))
}

// tenChanges change each row ten times, the last five times in one transaction.
func tenChanges(from, to int) (statements []string) {
	emails := []string{"NULL", "'r@example.com'"}
	for n := range 10 {
		if n == 5 {
			statements = append(statements, "BEGIN")
		}
		for i := from; i <= to; i++ {
			statements = append(statements, update(fmt.Sprintf("title = 'Sample %d', email = %s", n, emails[n%2]), i, i))
		}
	}
	return append(statements, "COMMIT")
}

// memberChanges links rows to members, and changes the primary key.
func memberChanges(t *testing.T, r *rig) {
	t.Helper()
	r.run(t, "rows get a member", update(linked, 51, 200))
	r.run(t, "rows get another member", update("crm_open_user_id = concat('FSUID_OTHER', emp_no), "+
		"mobile = concat('+86 111-', emp_no), nickname = concat('op', emp_no)", 121, 140))
	r.run(t, "members move to other rows", moves(201, 209)...)
	r.run(t, "mobiles move to other members", passOn(61, 69)...)
	r.run(t, "rows lose their member, and change", update("crm_open_user_id = NULL, title = 'Sample Alone'", 141, 150))
	r.run(t, "primary key change", update("emp_no = concat('7', substr(emp_no, 2))", 151, 200))
	o := r.run(t, "updates before and after a primary key change, at once", rekey(201, 300)...)
	if o.ops["d"] == 0 || o.ops["d"] != o.ops["c"] {
		t.Errorf("a changed primary key should be a deletion and a creation: %v", o.tally)
	}
}

// moves takes the member from each row and gives it to a row without one, in one transaction.
func moves(from, to int) (statements []string) {
	for i := from; i <= to; i++ {
		other := from - from%10 + 10*(1+i-from)
		statements = append(statements, "BEGIN", update("crm_open_user_id = NULL, title = 'Sample Left'", i, i),
			update("crm_open_user_id = '"+memberID(i)+"', title = 'Sample Joined'", other, other), "COMMIT")
	}
	return statements
}

// passOn gives the mobile of each row to the row ten rows later, in one transaction. The CRM
// rejects it there as long as the first member has it.
func passOn(from, to int) (statements []string) {
	for i := from; i <= to; i++ {
		statements = append(statements, "BEGIN", update(fmt.Sprintf("mobile = '+86 333-%06d'", i), i, i),
			update(fmt.Sprintf("mobile = '+86 000-0000-%04d'", i), i+10, i+10), "COMMIT")
	}
	return statements
}

// rekey changes a row, its primary key, and the row again, in one transaction for each row.
func rekey(from, to int) (statements []string) {
	for i := from; i <= to; i++ {
		rekeyed := i + 800000
		statements = append(statements, "BEGIN", update("title = 'Sample Before', dept_id = 1", i, i),
			update("emp_no = '"+number(rekeyed)+"', title = 'Sample Within'", i, i),
			update("title = 'Sample After'", rekeyed, rekeyed), "COMMIT")
	}
	return statements
}

// deletions deletes rows and inserts them again.
func deletions(t *testing.T, r *rig) {
	t.Helper()
	o := r.run(t, "bulk delete of 1,000 rows", "DELETE FROM employees WHERE emp_no "+numbers(firstGone, lastGone))
	o.noCalls(t)
	if n := lastGone - firstGone + 1; o.ops["d"] != n || o.ops["tombstone"] != n {
		t.Errorf("deletes without tombstones: %v", o.tally)
	}
	r.run(t, "deleted rows are inserted again", r.table.insert(firstGone, firstGone+99))
	r.run(t, "delete and insert in one transaction",
		"BEGIN", "DELETE FROM employees WHERE emp_no "+numbers(firstGone, firstGone+49), r.table.insert(firstGone, firstGone+49),
		update("title = 'Sample Return'", firstGone, firstGone+49), "COMMIT")
	r.run(t, "a bulk insert of the others", r.table.insert(firstGone+100, lastGone))
}

// incremental reads the table again, by a signal, while rows change.
func incremental(t *testing.T, r *rig) {
	t.Helper()
	o := r.stepDuring(t, "incremental snapshot, changes during it", people, func(t *testing.T) {
		t.Helper()
		r.table.execute(t, r.table.signal("again"))
		r.awaitRecords(t, people)
	})
	if o.ops["r"] == 0 || o.during == 0 {
		t.Errorf("the snapshot was not taken while rows changed: %v", o.tally)
	}
}

// kills kills the connector while a few rows change repeatedly, so that what is delivered twice
// holds old values.
func kills(t *testing.T, r *rig) {
	t.Helper()
	o := r.stepDuring(t, "the connector is killed three times, changes all the time", 20, func(t *testing.T) {
		t.Helper()
		for range 3 {
			r.awaitRecords(t, 500)
			r.connect.kill()
			r.connect.start(t)
		}
		r.awaitRecords(t, 500)
	})
	if o.again == 0 {
		t.Errorf("no change was delivered twice: %v", o.tally)
	}
}

// forgets makes the connector read the table again: its offsets are lost.
func forgets(t *testing.T, r *rig) {
	t.Helper()
	r.step(t, "the connector's offsets are lost: the table is read again", func(t *testing.T) {
		t.Helper()
		r.connect.kill()
		if err := os.Remove(r.connect.offsets()); err != nil {
			t.Fatal(err)
		}
		r.connect.start(t)
		r.awaitRecords(t, int64(len(r.table.rows)))
	}).noCalls(t)
}

// schema changes the table. wider is the statement for wider columns.
func schema(t *testing.T, r *rig, wider string) {
	t.Helper()
	r.run(t, "a column is added, with a default", "ALTER TABLE employees ADD COLUMN grade varchar(10) DEFAULT 'P1'",
		update("grade = 'P2', dept_id = dept_id + 1", 1, 50))
	r.run(t, "mapped columns become wider", wider,
		update("title = concat('Sample ', repeat('wide ', 40)), dept_id = dept_id + 1", 1, 50))
	r.run(t, "a column is dropped", "ALTER TABLE employees DROP COLUMN salary", update("title = 'Sample Lean'", 1, 50))
	r.run(t, "a mapped column gets another name", "ALTER TABLE employees RENAME COLUMN title TO job",
		update("job = 'Sample Silent', dept_id = dept_id + 1", 1, 50))
	// What changed under the other name is the same before and after from now on, so it needs a
	// snapshot.
	r.run(t, "it gets its name back, and an incremental snapshot", "ALTER TABLE employees RENAME COLUMN job TO title",
		update("email = 'back@example.com'", 1, 50), r.table.signal("back"))
	r.run(t, "a mapped column is dropped", "ALTER TABLE employees DROP COLUMN email", update("dept_id = dept_id + 1", 1, 50))
}
