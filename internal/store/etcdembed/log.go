// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package etcdembed

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// fatalHook takes the place of os.Exit and panic when etcd finds that it
// cannot go on: it keeps the reason, tells the owner and ends the goroutine,
// so that the process says why it stops and releases what it holds.
type fatalHook struct {
	once  sync.Once
	done  chan struct{}
	cause error
}

func newFatalHook() *fatalHook { return &fatalHook{done: make(chan struct{})} }

func (h *fatalHook) stop(err error) {
	h.once.Do(func() {
		h.cause = err
		close(h.done)
	})
}

// err is meant for after done.
func (h *fatalHook) err() error {
	<-h.done
	return h.cause
}

// OnWrite implements zapcore.CheckWriteHook.
func (h *fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	text := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			text += ": " + err.Error()
		}
	}
	h.stop(errors.New("etcd gave up: " + text))
	runtime.Goexit()
}

// newZap makes etcd's logger write to ours.
func newZap(log *slog.Logger, fatal *fatalHook) *zap.Logger {
	return zap.New(slogCore{log.Handler()}, zap.WithFatalHook(fatal), zap.WithPanicHook(fatal))
}

// slogCore is a zapcore.Core over a slog.Handler.
type slogCore struct{ to slog.Handler }

// level maps etcd's idea of importance to ours: what it tells at "info" is of
// interest to its developers.
func level(l zapcore.Level) slog.Level {
	switch {
	case l <= zapcore.InfoLevel:
		return slog.LevelDebug
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError
}

// entryLevel is level, but for what a member that was just made, or is being
// stopped, says of its version bookkeeping: it tries again by itself.
func entryLevel(e zapcore.Entry) slog.Level {
	switch e.Message {
	case "Failed to detect schema version", "failed to update storage version", "failed to update cluster version":
		return slog.LevelDebug
	}
	return level(e.Level)
}

// Enabled implements zapcore.Core.
func (c slogCore) Enabled(l zapcore.Level) bool {
	return c.to.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{c.to.WithAttrs(attrs(fields))}
}

// Check implements zapcore.Core.
func (c slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.to.Enabled(context.Background(), entryLevel(e)) {
		return ce.AddCore(e, c)
	}
	return ce
}

// Write implements zapcore.Core.
func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, entryLevel(e), "etcd: "+e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return c.to.Handle(context.Background(), r)
}

// Sync implements zapcore.Core.
func (c slogCore) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(enc)
	}
	out := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		out = append(out, slog.Any(k, v))
	}
	return out
}
