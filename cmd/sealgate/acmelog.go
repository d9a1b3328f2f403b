package main

import (
	"github.com/rs/zerolog"
	"go.uber.org/zap/zapcore"
)

// zapBridge puts what certmagic logs, by zap, into our log: errors as warnings,
// since what they come to is a line of our own, the rest for who looks for it.
// What is below info holds whole requests, and is left out.
type zapBridge struct {
	log    zerolog.Logger
	fields []zapcore.Field
}

// Enabled implements zapcore.Core.
func (b zapBridge) Enabled(level zapcore.Level) bool { return level >= zapcore.InfoLevel }

// With implements zapcore.Core.
func (b zapBridge) With(fields []zapcore.Field) zapcore.Core {
	b.fields = append(b.fields[:len(b.fields):len(b.fields)], fields...)
	return b
}

// Check implements zapcore.Core.
func (b zapBridge) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(entry.Level) {
		return checked.AddCore(entry, b)
	}
	return checked
}

// Write implements zapcore.Core.
func (b zapBridge) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	values := zapcore.NewMapObjectEncoder()
	for _, field := range append(b.fields[:len(b.fields):len(b.fields)], fields...) {
		field.AddTo(values)
	}
	e := b.log.Debug()
	if entry.Level >= zapcore.ErrorLevel {
		e = b.log.Warn()
	}
	e.Str("said", entry.Message).Fields(map[string]any{"of": values.Fields}).Msg("acme")
	return nil
}

// Sync implements zapcore.Core.
func (b zapBridge) Sync() error { return nil }
