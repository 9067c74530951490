package deploycheck

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// An Image is what a build target would hold and start.
type Image struct {
	// Files maps a path in the image to the local file that it was copied from. Files of a base image
	// are left out.
	Files map[string]string
	// Entrypoint, Cmd, HealthCheck and Env are as the Dockerfile says. HealthCheck begins with the
	// program; Env are name=value.
	Entrypoint, Cmd, HealthCheck, Env []string
}

// Build carries out the commands of the stages that a target copies from, in a folder that holds
// only what the Dockerfile copies there.
func (d *Dockerfile) Build(ctx context.Context, source, target, dir string) (*Image, error) {
	image := &Image{Files: map[string]string{}}
	stages, _ := d.chain(target)
	for c := range commands(stages) {
		switch c := c.(type) {
		case *instructions.EntrypointCommand:
			image.Entrypoint = c.CmdLine
		case *instructions.CmdCommand:
			image.Cmd = c.CmdLine
		case *instructions.EnvCommand:
			for _, kv := range c.Env {
				image.Env = append(image.Env, kv.Key+"="+kv.Value)
			}
		case *instructions.HealthCheckCommand:
			image.HealthCheck = c.Health.Test[1:] // after CMD
		case *instructions.CopyCommand:
			if err := d.copyFrom(ctx, c, source, dir, image); err != nil {
				return nil, err
			}
		}
	}
	return image, nil
}

func (d *Dockerfile) copyFrom(ctx context.Context, c *instructions.CopyCommand, source, dir string, image *Image) error {
	stages, _ := d.chain(c.From)
	b := &builder{source: source, root: filepath.Join(dir, c.From), env: os.Environ()}
	for command := range commands(stages) {
		if err := b.do(ctx, command); err != nil {
			return fmt.Errorf("stage %s: %w", c.From, err)
		}
	}
	for _, from := range c.SourcePaths {
		if strings.HasPrefix(from, b.workdir+"/") {
			image.Files[c.DestPath] = filepath.Join(b.root, from)
		}
	}
	return nil
}

// A builder is at one point of a stage. Its folder stands for the root of the stage's file system.
type builder struct {
	source, root string
	workdir      string
	env          []string
}

func (b *builder) do(ctx context.Context, c instructions.Command) error {
	switch c := c.(type) {
	case *instructions.WorkdirCommand:
		b.workdir = path.Join("/", b.workdir, c.Path)
		return os.MkdirAll(b.here(), 0o750)
	case *instructions.EnvCommand:
		for _, kv := range c.Env {
			b.env = append(b.env, kv.Key+"="+kv.Value)
		}
	case *instructions.ArgCommand:
		for _, kv := range c.Args {
			b.env = append(b.env, kv.Key+"="+kv.ValueString())
		}
	case *instructions.CopyCommand:
		return b.copy(c)
	case *instructions.RunCommand:
		return b.run(ctx, c)
	default:
		return fmt.Errorf("cannot carry out here: %s", c.Name())
	}
	return nil
}

func (b *builder) here() string { return filepath.Join(b.root, b.workdir) }

func (b *builder) copy(c *instructions.CopyCommand) error {
	for _, from := range c.SourcePaths {
		to := filepath.Join(b.here(), c.DestPath)
		info, err := os.Stat(filepath.Join(b.source, from))
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = os.CopyFS(to, os.DirFS(filepath.Join(b.source, from)))
		} else {
			err = copyFile(filepath.Join(b.source, from), filepath.Join(to, filepath.Base(from)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o600)
}

func (b *builder) run(ctx context.Context, c *instructions.RunCommand) error {
	args := c.CmdLine
	if c.PrependShell {
		args = append([]string{"/bin/sh", "-c"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = b.here(), b.env
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(c.CmdLine, " "), err, output)
	}
	return nil
}
