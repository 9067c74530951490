// Package deploycheck checks what the compiler and the linters of the main module do not see.
//
// It checks docker-compose.yml and deploy/Dockerfile without a container engine: it reads them with
// the loaders of the engine itself, applies this project's rules to them, runs the commands of the
// build, and runs the services as plain processes.
//
// It also checks the words of the sources and the width of comments and prose (words.go). The lists
// in words_lists.go name the folders that still break these rules.
package deploycheck

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// LoadCompose reads a compose file against the specification's schema, with the services of all
// profiles. What the schema does not know is an error.
func LoadCompose(ctx context.Context, file string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithResolvedPaths(true), cli.WithProfiles([]string{"*"}))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

// ComposeFaults lists what is wrong with a project's services beyond the schema.
func ComposeFaults(p *types.Project) []string {
	var faults []string
	for _, name := range p.ServiceNames() {
		for _, fault := range serviceFaults(p, p.Services[name]) {
			faults = append(faults, name+": "+fault)
		}
	}
	return faults
}

func serviceFaults(p *types.Project, s types.ServiceConfig) []string {
	var faults []string
	if !hasHealthCheck(s) && !isOneShot(s) {
		faults = append(faults, `neither a health check nor a one-shot (restart: "no")`)
	}
	if image := s.Image; s.Build == nil && (!strings.Contains(image, ":") || strings.HasSuffix(image, ":latest")) {
		faults = append(faults, "image without a version: "+image)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			faults = append(faults, "port published beyond loopback: "+port.Published)
		}
	}
	faults = append(faults, conditionFaults(p, s)...)
	return append(faults, orderFaults(p, s)...)
}

// HardeningFaults lists what the services of a project could do and need not. A service whose image
// is among writers writes next to its program.
func HardeningFaults(p *types.Project, writers ...string) []string {
	var faults []string
	for _, name := range p.ServiceNames() {
		s := p.Services[name]
		image, _, _ := strings.Cut(s.Image, ":")
		for fault, found := range map[string]bool{
			"has capabilities":       !slices.Contains(s.CapDrop, "ALL") || len(s.CapAdd) > 0 || s.Privileged,
			"may gain privileges":    !slices.Contains(s.SecurityOpt, "no-new-privileges:true"),
			"can write to its root":  !s.ReadOnly && !slices.Contains(writers, image),
			"has no bound on memory": s.MemLimit == 0,
		} {
			if found {
				faults = append(faults, name+": "+fault)
			}
		}
	}
	slices.Sort(faults)
	return faults
}

func hasHealthCheck(s types.ServiceConfig) bool {
	return s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) > 1
}

func isOneShot(s types.ServiceConfig) bool {
	return s.Restart == types.RestartPolicyNo && !hasHealthCheck(s)
}

// conditionFaults finds conditions that can never come true, and those that wait for nothing.
func conditionFaults(p *types.Project, s types.ServiceConfig) []string {
	var faults []string
	for name, dependency := range s.DependsOn {
		on := p.Services[name]
		switch dependency.Condition {
		case types.ServiceConditionHealthy:
			if !hasHealthCheck(on) {
				faults = append(faults, "waits for the health of "+name+", which has no health check")
			}
		case types.ServiceConditionCompletedSuccessfully:
			if !isOneShot(on) {
				faults = append(faults, "waits for the end of "+name+", which is no one-shot")
			}
		default:
			faults = append(faults, "depends on "+name+" without waiting for it")
		}
	}
	return faults
}

// orderFaults finds services that are addressed but not waited for.
func orderFaults(p *types.Project, s types.ServiceConfig) []string {
	var faults []string
	waited := waitedFor(p, s.Name)
	for _, name := range addressed(p, s) {
		if name != s.Name && !waited[name] {
			faults = append(faults, "uses "+name+" without waiting for it")
		}
	}
	return faults
}

func waitedFor(p *types.Project, name string) map[string]bool {
	waited := map[string]bool{}
	for on := range p.Services[name].DependsOn {
		waited[on] = true
		maps.Copy(waited, waitedFor(p, on))
	}
	return waited
}

// addressed names the services whose host:port a service's variables and commands hold.
func addressed(p *types.Project, s types.ServiceConfig) []string {
	pattern := regexp.MustCompile(`\b(` + strings.Join(p.ServiceNames(), "|") + `):\d+`)
	names := map[string]bool{}
	for _, text := range texts(s) {
		for _, match := range pattern.FindAllStringSubmatch(text, -1) {
			names[match[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func texts(s types.ServiceConfig) []string {
	all := slices.Concat(s.Entrypoint, s.Command)
	if s.HealthCheck != nil {
		all = append(all, s.HealthCheck.Test...)
	}
	for _, value := range s.Environment {
		if value != nil {
			all = append(all, *value)
		}
	}
	return all
}

// UnknownVariables lists the variables of membersync that its help text does not name, neither as
// they are nor by the flag of the same setting.
func UnknownVariables(p *types.Project, help string) []string {
	var unknown []string
	for _, name := range p.ServiceNames() {
		for variable := range p.Services[name].Environment {
			setting, ours := strings.CutPrefix(variable, "MEMBERSYNC_")
			flag := "--" + strings.ToLower(strings.ReplaceAll(setting, "_", "-"))
			if ours && !hasWord(help, flag) && !hasWord(help, variable) {
				unknown = append(unknown, fmt.Sprintf("%s: %s", name, variable))
			}
		}
	}
	slices.Sort(unknown)
	return unknown
}

func hasWord(text, word string) bool {
	return regexp.MustCompile(`(^|[\s,(])` + regexp.QuoteMeta(word) + `($|[\s,)(=])`).MatchString(text)
}
