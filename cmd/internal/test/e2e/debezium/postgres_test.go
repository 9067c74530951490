package debezium

import (
	"fmt"
	"strings"
	"testing"
)

// All records of a member are in one partition, since the topic's key is the member's.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	p := postgres{port: port(t, postgresEnv)}
	create(t, p, "createdb", "-h", host, "-p", p.port, "-U", "postgres", "hr")
	r := open(t, p, "postgres.yaml", 6, map[string]string{"message.key.columns": "public.employees:crm_open_user_id"})
	snapshot(t, r)
	rowChanges(t, r)
	toast(t, r)
	memberChanges(t, r)
	deletions(t, r)
	incremental(t, r)
	kills(t, r)
	forgets(t, r)
	identities(t, r)
	schema(t, r, "ALTER TABLE employees ALTER COLUMN title TYPE text, ALTER COLUMN dept_id TYPE bigint")
	r.run(t, "TRUNCATE", "TRUNCATE employees").noCalls(t)
}

// toast changes rows with values stored outside of the row. The log lacks such a value unless it
// changes.
func toast(t *testing.T, r *rig) {
	t.Helper()
	r.run(t, "TOAST: a list of 480 entries", update("extra_depts = "+departments(r.table.d, 480), 1, 50))
	r.run(t, "TOAST: another column changes", update("title = 'Sample Toast'", 1, 50))
	r.run(t, "TOAST: only the large columns change",
		update("extra_depts = "+departments(r.table.d, 475)+", bio = repeat('Other life. ', 400)", 1, 50))
	r.run(t, "TOAST: from a large value to NULL and back",
		update("extra_depts = NULL", 1, 50), update("extra_depts = "+departments(r.table.d, 470), 1, 25))
}

// departments returns a list of n IDs. PostgreSQL moves a list of 470 out of the row.
func departments(d database, n int) string {
	var ids []int
	for i := range n {
		ids = append(ids, 1000+i)
	}
	return d.list(ids...)
}

// identities repeats the steps that depend on the old row that PostgreSQL logs.
func identities(t *testing.T, r *rig) {
	t.Helper()
	r.table.execute(t, "CREATE UNIQUE INDEX employees_identity ON employees (emp_no, full_name)")
	for i, identity := range []string{"FULL", "USING INDEX employees_identity", "DEFAULT"} {
		name := "identity " + strings.Fields(identity)[0]
		list := departments(r.table.d, 480)
		if identity != "FULL" {
			list = departments(r.table.d, 2) // a large list that does not change cannot move to another member
		}
		r.table.execute(t, "ALTER TABLE employees REPLICA IDENTITY "+identity)
		r.run(t, name+": updates", update("title = '"+name+"', dept_id = dept_id + 1", 1, 100))
		r.run(t, name+": other columns", update("salary = salary + 1", 1, 300)).noCalls(t)
		r.run(t, name+": to NULL", update("title = NULL, email = NULL, extra_depts = NULL", 1, 100))
		r.run(t, name+": to values", update("title = 'Sample Clerk', email = 'i@example.com', extra_depts = "+list, 1, 100))
		r.run(t, name+": rows get a member", update(linked, 1+20*i, 20+20*i))
		r.run(t, name+": the index's columns", update(fmt.Sprintf("full_name = concat('Sample ', emp_no, ' %d')", i), 1, 100))
		r.run(t, name+": another member", update(fmt.Sprintf("crm_open_user_id = concat('FSUID_%d_', emp_no), "+
			"mobile = concat('+86 22%d-', emp_no), nickname = concat('i%d ', emp_no)", i, i, i), 1, 20))
		r.run(t, name+": deletes", "DELETE FROM employees WHERE emp_no "+numbers(2001+20*i, 2020+20*i)).noCalls(t)
	}
}
