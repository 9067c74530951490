package secured

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An acl is one permission at Kafka, as the page grants it.
type acl struct {
	principal, resource, name, operation string
	prefixed                             bool
}

func (a acl) String() string { return a.operation + " " + a.resource + " " + a.name }

// A page is the permissions of cmd/SECURITY.md.
type page struct {
	acls  []acl
	redis map[string][]string // by user: what ACL SETUSER is given beyond the password
}

// readPage reads the fenced blocks of the page.
func readPage(t *testing.T, root string) page {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "cmd", "SECURITY.md")) //nolint:gosec // our own
	if err != nil {
		t.Fatal(err)
	}
	p := page{redis: map[string][]string{}}
	fenced := false
	// A backslash at the end of a line continues the command in the next one.
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
			continue
		}
		words := strings.Fields(strings.ReplaceAll(line, "'", ""))
		switch {
		case !fenced || len(words) == 0:
		case words[0] == "acl":
			p.acls = append(p.acls, parseACL(t, words[1:])...)
		case words[0] == "redis-cli" && slices.Equal(words[1:3], []string{"ACL", "SETUSER"}):
			p.redis[words[3]] = slices.DeleteFunc(words[4:], func(w string) bool { return w == ">SECRET" })
		case words[0] != "acl()":
			t.Fatalf("the page has a command that this test does not know: %s", line)
		}
	}
	return p
}

// parseACL reads the arguments of kafka-acls.sh.
func parseACL(t *testing.T, words []string) []acl {
	t.Helper()
	one := acl{principal: words[0]}
	var operations []string
	for i := 1; i+1 < len(words); i += 2 {
		switch value := words[i+1]; words[i] {
		case "--topic", "--group":
			one.resource, one.name = strings.TrimPrefix(words[i], "--"), value
		case "--operation":
			operations = append(operations, value)
		case "--resource-pattern-type":
			one.prefixed = value == "prefixed"
		default:
			t.Fatalf("the page has an option that this test does not know: %s", words[i])
		}
	}
	var all []acl
	for _, op := range operations {
		one.operation = op
		all = append(all, one)
	}
	return all
}

// acls returns the permissions of a principal of the page, with the names of the rig; those to
// create topics apart.
func (r *rig) acls(principal string) (all, create []acl) {
	for _, a := range r.page.acls {
		for old, own := range map[string]string{pageTopic: r.topic, pageGroup: r.group} {
			if rest, ok := strings.CutPrefix(a.name, old); ok {
				a.name = own + rest
				break
			}
		}
		switch {
		case a.principal != "User:"+principal:
		case a.operation == "Create":
			create = append(create, a)
		default:
			all = append(all, a)
		}
	}
	return all, create
}

// redisUser returns the page's command for a user. A "reset" would close the user's connections
// for a moment that no operator causes.
func (p page) redisUser(name, password string, without ...string) []any {
	args := []any{"ACL", "SETUSER", name, "resetkeys", "-@all", "resetpass", ">" + password}
	for _, rule := range p.redis[name] {
		if rule != "reset" && !slices.Contains(without, rule) {
			args = append(args, rule)
		}
	}
	return args
}

// commandsOf are the commands that the page grants a user.
func (p page) commandsOf(name string) (commands []string) {
	for _, rule := range p.redis[name] {
		if command, ok := strings.CutPrefix(rule, "+"); ok {
			commands = append(commands, command)
		}
	}
	return commands
}
