package debezium

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A row is a row by the names of all its columns; nil is NULL.
type row map[string]*string

// get returns the text of a column. It is empty for NULL and for an unknown column.
func (r row) get(column string) string {
	if text := r[column]; text != nil {
		return *text
	}
	return ""
}

// A database runs SQL through the client program of a PostgreSQL or a MariaDB.
type database interface {
	// name is the name of the product.
	name() string
	// command is the client. It reads SQL and stops at the first error.
	command(ctx context.Context) *exec.Cmd
	// parse reads what the client prints for a query: a header line and the rows, or nothing.
	parse(output []byte) ([][]string, error)
	// topic is where the connector writes the table.
	topic() string
	// list writes the IDs as a value of extra_depts.
	list(ids ...int) string
	// noDate is a value of hire_date that is not a day.
	noDate() string
	// position is a query for the end of the log, as one row.
	position() string
	// reached reports whether the connector's offset is at that row or after it.
	reached(position row, offset map[string]json.RawMessage) bool
	// connector holds the settings that differ between the connectors.
	connector() map[string]string
}

// execute runs statements, each in its own transaction unless they contain others.
func execute(ctx context.Context, d database, sql string) ([]byte, error) {
	cmd := d.command(ctx)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(sql), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", d.name(), err, stderr.Bytes())
	}
	return stdout.Bytes(), nil
}

// query runs one query.
func query(t *testing.T, d database, sql string) []row {
	t.Helper()
	out, err := execute(t.Context(), d, sql)
	if err != nil {
		t.Fatal(err)
	}
	table, err := d.parse(out)
	if err != nil {
		t.Fatalf("%s: %v: the result of %s", d.name(), err, sql)
	}
	var rows []row
	for _, cells := range table[min(1, len(table)):] {
		r := row{}
		for i, cell := range cells {
			r[table[0][i]] = &cell
			if cell == null {
				r[table[0][i]] = nil
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// null is how both clients print NULL. No value of the table is this text.
const null = "NULL"

type postgres struct{ port string }

func (postgres) name() string  { return "PostgreSQL" }
func (postgres) topic() string { return "hr.public.employees" }

func (p postgres) command(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, "psql", "-X", "-q", "-h", host, "-p", p.port, "-U", "postgres", "-d", "hr", //nolint:gosec // of the script
		"-v", "ON_ERROR_STOP=1", "--csv", "-P", "null="+null)
}

func (postgres) parse(output []byte) ([][]string, error) {
	return csv.NewReader(bytes.NewReader(output)).ReadAll()
}

func (postgres) list(ids ...int) string { return "'{" + joined(ids) + "}'" }

func (postgres) noDate() string { return "'infinity'" }

func (postgres) position() string {
	return "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint AS lsn"
}

func (postgres) reached(position row, offset map[string]json.RawMessage) bool {
	lsn, err := strconv.ParseInt(string(offset["lsn"]), 10, 64)
	want, _ := strconv.ParseInt(position.get("lsn"), 10, 64)
	return err == nil && lsn >= want
}

func (p postgres) connector() map[string]string {
	return map[string]string{
		"connector.class": "io.debezium.connector.postgresql.PostgresConnector",
		"database.port":   p.port, "database.user": "postgres", "database.password": "none", "database.dbname": "hr",
		"plugin.name": "pgoutput", "publication.autocreate.mode": "filtered",
		"table.include.list": "public.employees", "signal.data.collection": "public.dbz_signal",
	}
}

type mariadb struct{ port string }

func (mariadb) name() string  { return "MariaDB" }
func (mariadb) topic() string { return "hr.hr.employees" }

func (m mariadb) command(ctx context.Context) *exec.Cmd {
	return exec.CommandContext(ctx, "mariadb", "--no-defaults", "-h", host, "-P", m.port, "-u", "root", "--batch", //nolint:gosec // of the script
		"--default-character-set=utf8mb4", "--init-command=SET sql_mode = ''", "hr") // '0000-00-00' is a date
}

func (mariadb) parse(output []byte) (table [][]string, err error) {
	unescape := strings.NewReplacer(`\t`, "\t", `\n`, "\n", `\0`, "\x00", `\\`, `\`)
	for line := range strings.Lines(string(output)) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i, cell := range cells {
			cells[i] = unescape.Replace(cell)
		}
		table = append(table, cells)
	}
	return table, nil
}

func (mariadb) list(ids ...int) string { return "'" + joined(ids) + "'" }

func (mariadb) noDate() string { return "'0000-00-00 00:00:00'" }

func (mariadb) position() string { return "SHOW MASTER STATUS" }

func (mariadb) reached(position row, offset map[string]json.RawMessage) bool {
	var file string
	pos, err := strconv.ParseInt(string(offset["pos"]), 10, 64)
	if err != nil || json.Unmarshal(offset["file"], &file) != nil {
		return false
	}
	want, _ := strconv.ParseInt(position.get("Position"), 10, 64)
	return file > position.get("File") || file == position.get("File") && pos >= want
}

func (m mariadb) connector() map[string]string {
	return map[string]string{
		"connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
		"database.port":   m.port, "database.user": "root", "database.password": "", "database.server.id": "2",
		"database.ssl.mode": "disable", "database.include.list": "hr",
		"table.include.list": "hr.employees,hr.dbz_signal", "signal.data.collection": "hr.dbz_signal",
		"schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
		"value.converter":         jsonConverter, "value.converter.schemas.enable": "true",
	}
}

// create creates the database, with a command, and its tables.
func create(t *testing.T, d database, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // fixed words
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("creating the database: %v\n%s", err, out)
	}
	sql, err := os.ReadFile(filepath.Join("testdata", strings.ToLower(d.name())+".sql"))
	if err == nil {
		_, err = execute(t.Context(), d, string(sql))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func joined(ids []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")
}
