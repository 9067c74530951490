package debezium

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// employees is the table that the connector reads.
type employees struct {
	d      database
	rows   map[string]string // updated_at of each row by emp_no, when it was read last
	rounds int               // of during
}

// execute runs statements.
func (e *employees) execute(t *testing.T, statements ...string) {
	t.Helper()
	if err := e.try(t.Context(), statements...); err != nil {
		t.Fatal(err)
	}
}

func (e *employees) try(ctx context.Context, statements ...string) error {
	_, err := execute(ctx, e.d, strings.Join(statements, ";\n")+";\n")
	return err
}

// read returns the rows, and how many have changed since the last time.
func (e *employees) read(t *testing.T) (rows []row, changed int) {
	t.Helper()
	rows = query(t, e.d, "SELECT * FROM employees ORDER BY emp_no;")
	now := make(map[string]string, len(rows))
	for _, row := range rows {
		now[row.get("emp_no")] = row.get("updated_at")
	}
	for no := range merged(now, e.rows) {
		if now[no] != e.rows[no] {
			changed++
		}
	}
	e.rows = now
	return rows, changed
}

// titleOfDuring is the title that during sets, with the number of the round, which only rises.
const titleOfDuring = "Sample Title %d"

// during changes rows one after the other until the function returns. A round is 20 rows.
func (e *employees) during(t *testing.T, rows int, f func(*testing.T)) {
	t.Helper()
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			var statements []string
			e.rounds++
			round := e.rounds
			for i := range 20 {
				no := 1 + (round*20+i*7)%rows
				statements = append(statements, update(fmt.Sprintf("title = '"+titleOfDuring+"', dept_id = %d", round, round), no, no))
			}
			if err := e.try(t.Context(), statements...); err != nil {
				done <- err
				return
			}
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
		}
	}()
	f(t)
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// signal requests an incremental snapshot of the table.
func (e *employees) signal(id string) string {
	return fmt.Sprintf(`INSERT INTO dbz_signal VALUES ('%s', 'execute-snapshot', '{"type": "incremental", "data-collections": ["%s"]}')`,
		id, strings.TrimPrefix(e.d.topic(), "hr."))
}

// number returns an emp_no, member an ID of the CRM.
func number(i int) string   { return fmt.Sprintf("%06d", i) }
func memberID(i int) string { return fmt.Sprintf("FSUID_TEST%04d", i) }

// insert writes rows of made-up people. Each tenth has no member in the CRM, each seventh has NULL
// or no value wherever that is possible.
func (e *employees) insert(from, to int) string {
	var values []string
	for i := from; i <= to; i++ {
		link, texts, times := "'"+memberID(i)+"'", fmt.Sprintf("'sp%d', 'Sample Clerk'", i), "'2020-01-02', '1985-06-15'"
		mobile, email, lists := fmt.Sprintf("'+86 000-0000-%04d'", i), fmt.Sprintf("'s%d@example.com'", i), e.d.list(i%5, 5+i%3)
		if i%10 == 0 {
			link = "NULL"
		}
		if i%7 == 0 {
			texts, times, mobile, email, lists = "NULL, NULL", "'9999-12-31', NULL", "NULL", "''", "NULL"
		}
		values = append(values, fmt.Sprintf("('%s', %s, 'Sample Person %d', %s, '%s', %s, %s, %d, %s, %s, %d.5, repeat('Made-up %d. ', 300))",
			number(i), link, i, texts, e.gender(i), mobile, email, 1+i%9, lists, times, i, i))
	}
	return "INSERT INTO employees (emp_no, crm_open_user_id, full_name, nickname, title, gender, mobile, email, " +
		"dept_id, extra_depts, hire_date, birth_date, salary, bio) VALUES\n" + strings.Join(values, ",\n")
}

// gender returns a value of the column: M, F, and each thirteenth another.
func (e *employees) gender(i int) string {
	names := []string{"M", "F", "X"}
	if e.d.name() == (mariadb{}).name() {
		names = []string{"male", "female", "other"}
	}
	if i%13 == 0 {
		return names[2]
	}
	return names[i%2]
}

// numbers returns emp_nos as a list of SQL.
func numbers(from, to int) string {
	return "BETWEEN '" + number(from) + "' AND '" + number(to) + "'"
}

// update returns a statement that sets columns of some rows.
func update(set string, from, to int) string {
	return "UPDATE employees SET " + set + " WHERE emp_no " + numbers(from, to)
}
