package dedupe

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// A PermissionError reports that the ACL of the Redis user lacks a permission. The same command
// fails until the ACL is changed, which takes effect at once, on open connections too.
// https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
type PermissionError struct {
	// Commands are those that the user may not run, in lower case, with a subcommand as config|get.
	// In a script they are all that the scripts need and the user lacks. They are empty if the
	// server does not say which command of a script it refused.
	Commands []string
	// Key is the first key that a command was refused for; empty: it was refused for any key. Keys
	// hold hashes and no personal data.
	Key string
	Err error // the reply of Redis
}

// Error names what is missing and what to add.
func (e *PermissionError) Error() string {
	switch {
	case e.Key != "":
		return fmt.Sprintf("the redis user may not access key %q: add a pattern for it to its ACL, see cmd/SECURITY.md", e.Key)
	case len(e.Commands) == 0:
		return "the redis user may not run a command of a script: compare its ACL with cmd/SECURITY.md"
	}
	return fmt.Sprintf("the redis user may not run %s: add +%s to its ACL, see cmd/SECURITY.md",
		strings.Join(e.Commands, ", "), strings.Join(e.Commands, " +"))
}

// Unwrap returns the reply of Redis.
func (e *PermissionError) Unwrap() error { return e.Err }

// permissionHook turns the replies of Redis about its ACL into a [PermissionError]. It implements
// [redis.Hook].
type permissionHook struct{ client redis.UniversalClient }

// DialHook implements [redis.Hook].
func (permissionHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (h permissionHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := h.explain(ctx, cmd, next(ctx, cmd))
		cmd.SetErr(err)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook]. One script is examined for all of a pipeline. The
// error of a pipeline is that of its first command without a permission, if there is one.
func (h permissionHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		var inScript error
		for _, cmd := range cmds {
			switch {
			case inScript != nil && isRefusedInScript(cmd.Err()):
				cmd.SetErr(inScript)
			case isRefusedInScript(cmd.Err()):
				inScript = h.explain(ctx, cmd, cmd.Err())
				cmd.SetErr(inScript)
			default:
				cmd.SetErr(h.explain(ctx, cmd, cmd.Err()))
			}
		}
		if err == nil {
			return nil
		}
		for _, cmd := range cmds {
			if denied, ok := errors.AsType[*PermissionError](cmd.Err()); ok {
				return denied
			}
		}
		return err
	}
}

// explain returns the error of a command, as a [*PermissionError] if it is about the ACL.
func (h permissionHook) explain(ctx context.Context, cmd redis.Cmder, err error) error {
	switch {
	case isRefusedInScript(err):
		denied := &PermissionError{Err: err}
		isOwn := len(cmd.Args()) > 1 && cmd.Args()[1] == permissionLua // never ask about the question
		if key := firstKey(cmd); key != "" && !isOwn {
			denied.Commands, _ = deniedCommands(ctx, h.client, key) // without them it is less clear
		}
		return denied
	case !redis.IsPermissionError(err):
		return err
	case strings.Contains(err.Error(), " access "):
		return &PermissionError{Key: firstKey(cmd), Err: err}
	}
	return &PermissionError{Commands: []string{refusedCommand(cmd, err)}, Err: err}
}

// refusedCommand returns the command that the reply of Redis names in quotes. In a cluster, it can
// be one that the library needs before it can send the caller's.
func refusedCommand(cmd redis.Cmder, err error) string {
	if _, rest, ok := strings.Cut(err.Error(), "run the '"); ok {
		if name, _, ok := strings.Cut(rest, "'"); ok {
			return name
		}
	}
	return cmd.FullName()
}

// isRefusedInScript recognizes the ACL's refusal of a command within a script. Before Redis 7.2 its
// text does not say which command. No version gives it a code of its own.
func isRefusedInScript(err error) bool {
	return redis.HasErrorPrefix(err, "The user executing the script") ||
		redis.HasErrorPrefix(err, "ACL failure in script")
}

// firstKey returns the first key of a command; empty: it has none.
func firstKey(cmd redis.Cmder) string {
	args := cmd.Args()
	at := 1
	if name := cmd.Name(); name == "eval" || name == "evalsha" {
		at = 3
	}
	if at >= len(args) {
		return ""
	}
	return fmt.Sprint(args[at])
}

//go:embed permission.lua
var permissionLua string

// neededCommands are the commands that a [Store] of the service runs, in scripts or directly. Their
// first argument is a key, or they have none. [Store.ReleaseHeld] and [Store.InvalidateDigests]
// also need INCR.
func neededCommands() []any {
	return []any{
		"evalsha", "get", "set", "setnx", "del", "pttl", "pexpire", "pexpireat", "persist", "time",
		"hget", "hgetall", "hmget", "hset", "hdel", "hrandfield", "zadd", "zcard", "zrange", "zrem", "zremrangebyscore", "zscore",
	}
}

// deniedCommands returns which of the needed commands the user may not run. It modifies nothing. A
// server before Redis 7 does not say, and then none are returned.
func deniedCommands(ctx context.Context, client redis.Cmdable, key string) ([]string, error) {
	return client.Eval(ctx, permissionLua, []string{key}, neededCommands()...).StringSlice()
}

// checkPermissions returns a [*PermissionError] that names every command that is missing.
func (s *Store) checkPermissions(ctx context.Context) error {
	denied, err := deniedCommands(ctx, s.client, s.scope+"check")
	if err == nil && len(denied) > 0 {
		err = &PermissionError{Commands: denied}
	}
	return err
}
