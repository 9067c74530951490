package debezium

import (
	"strings"
	"testing"
)

// All records are in one partition. The topic's key is the primary key, as is Debezium's default.
func TestMariaDB(t *testing.T) {
	t.Parallel()
	m := mariadb{port: port(t, mariadbEnv)}
	create(t, m, "mariadb", "--no-defaults", "-h", host, "-P", m.port, "-u", "root", "-e", "CREATE DATABASE hr")
	r := open(t, m, "mariadb.yaml", 1, nil)
	snapshot(t, r)
	rowChanges(t, r)
	r.run(t, "REPLACE and ON DUPLICATE KEY UPDATE",
		strings.Replace(r.table.insert(1, 20), "INSERT", "REPLACE", 1),
		r.table.insert(21, 40)+" ON DUPLICATE KEY UPDATE title = 'Sample Double', dept_id = 77")
	memberChanges(t, r)
	deletions(t, r)
	incremental(t, r)
	kills(t, r)
	forgets(t, r)
	schema(t, r, "ALTER TABLE employees MODIFY title text, MODIFY dept_id bigint")
	r.run(t, "TRUNCATE", "TRUNCATE TABLE employees").noCalls(t)
}
