package deploycheck

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// A Dockerfile is a parsed one, with the warnings of BuildKit's own linter.
type Dockerfile struct {
	stages   []instructions.Stage
	warnings []string
}

// ParseDockerfile reads a Dockerfile as BuildKit does.
func ParseDockerfile(text []byte) (*Dockerfile, error) {
	result, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &Dockerfile{}
	for _, w := range result.Warnings {
		d.warnings = append(d.warnings, w.Short)
	}
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, _ []parser.Range) {
		d.warnings = append(d.warnings, rule+": "+message)
	}})
	d.stages, _, err = instructions.Parse(result.AST, lint)
	return d, err
}

func (d *Dockerfile) stage(name string) *instructions.Stage {
	for i := range d.stages {
		if d.stages[i].Name == name {
			return &d.stages[i]
		}
	}
	return nil
}

// chain returns the stages that a stage stands on, itself last, and the image below them.
func (d *Dockerfile) chain(name string) (stages []*instructions.Stage, image string) {
	for s := d.stage(name); s != nil; s = d.stage(s.BaseName) {
		stages, image = append(stages, s), s.BaseName
	}
	slices.Reverse(stages)
	return stages, image
}

// Faults lists what is wrong with the images that the targets name, and the warnings of BuildKit's
// linter.
func (d *Dockerfile) Faults(targets ...string) []string {
	faults := slices.Clone(d.warnings)
	for _, target := range targets {
		if d.stage(target) == nil {
			faults = append(faults, target+": unknown stage")
			continue
		}
		for _, fault := range slices.Concat(d.imageFaults(target), d.buildFaults(target)) {
			faults = append(faults, target+": "+fault)
		}
	}
	return faults
}

func (d *Dockerfile) imageFaults(target string) []string {
	var faults []string
	stages, image := d.chain(target)
	if image != "scratch" && !strings.HasPrefix(image, "gcr.io/distroless/static") {
		faults = append(faults, "the image is neither scratch nor distroless: "+image)
	}
	user, entrypoint := "", false
	for c := range commands(stages) {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			entrypoint = !c.PrependShell && len(c.CmdLine) > 0
		}
	}
	if uid, err := strconv.Atoi(strings.SplitN(user, ":", 2)[0]); err != nil || uid == 0 {
		faults = append(faults, fmt.Sprintf("the user is not a number other than 0: %q", user))
	}
	if !entrypoint {
		faults = append(faults, "no entrypoint in exec form")
	}
	return faults
}

// buildFaults looks at the stages that the target copies from.
func (d *Dockerfile) buildFaults(target string) []string {
	var faults []string
	stages, _ := d.chain(target)
	for c := range commands(stages) {
		cp, ok := c.(*instructions.CopyCommand)
		if !ok || cp.From == "" {
			continue
		}
		from, image := d.chain(cp.From)
		if len(from) == 0 {
			faults = append(faults, "copies from "+cp.From+", which is no stage")
			continue
		}
		if !strings.Contains(image, ":") || strings.HasSuffix(image, ":latest") {
			faults = append(faults, "built on an image without a version: "+image)
		}
		faults = append(faults, goBuildFaults(from)...)
	}
	return faults
}

func goBuildFaults(stages []*instructions.Stage) []string {
	var faults []string
	static := false
	for c := range commands(stages) {
		switch c := c.(type) {
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				static = static || kv.Key == "CGO_ENABLED" && kv.Value == "0"
			}
		case *instructions.RunCommand:
			line := strings.Join(c.CmdLine, " ")
			if !regexp.MustCompile(`\bgo build\b`).MatchString(line) {
				continue
			}
			if !static && !strings.Contains(line, "CGO_ENABLED=0") {
				faults = append(faults, "not static, CGO_ENABLED is not 0: "+line)
			}
			if !strings.Contains(line, " -trimpath ") {
				faults = append(faults, "no -trimpath: "+line)
			}
		}
	}
	return faults
}

func commands(stages []*instructions.Stage) func(yield func(instructions.Command) bool) {
	return func(yield func(instructions.Command) bool) {
		for _, s := range stages {
			for _, c := range s.Commands {
				if !yield(c) {
					return
				}
			}
		}
	}
}
