package wiring

import (
	"context"
	"log/slog"
	"time"
)

// levelPoll is how often the configuration is looked at for another level of the log.
const levelPoll = 5 * time.Second

// FollowLevel sets the level of the log to what look returns, every 5 s until the context ends. If
// that is an error, the level stays; the log says so, once for each error.
func FollowLevel(ctx context.Context, level *slog.LevelVar, look func() (slog.Level, error), log *slog.Logger) {
	ticker := time.NewTicker(levelPoll)
	defer ticker.Stop()
	fault := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := look()
		if err != nil {
			if err.Error() != fault {
				log.LogAttrs(ctx, slog.LevelWarn, "log level not read again; it stays", slog.String("error", err.Error()))
			}
			fault = err.Error()
			continue
		}
		fault = ""
		setLevel(ctx, level, now, log)
	}
}

// setLevel logs a change under whichever of the two levels lets more through.
func setLevel(ctx context.Context, level *slog.LevelVar, now slog.Level, log *slog.Logger) {
	before := level.Level()
	if now == before {
		return
	}
	level.Set(min(now, before))
	log.LogAttrs(ctx, slog.LevelInfo, "log level changed", slog.String("from", before.String()), slog.String("to", now.String()))
	level.Set(now)
}
