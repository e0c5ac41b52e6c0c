// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"podid/internal/uuid"
)

// probeEvery is how often Ready tries a sink that does not take events.
const probeEvery = time.Second

// maxPooled bounds the line buffers that are kept for reuse.
const maxPooled = 64 << 10

// GapName is the event name of the line that a Log writes when its sink takes
// events again: how many were lost, and since when.
const GapName = "AuditLogGap"

// Options are what every form of Log needs. Now is required; the others may
// be left out.
type Options struct {
	Now      func() time.Time
	Log      *slog.Logger          // where trouble with the sink is told
	Register prometheus.Registerer // where the counters go
	Region   string                // of the lines that the Log itself writes
	Account  string
}

// sink takes whole lines. After an error the next ones must not stick to what
// was written of these.
type sink interface {
	writeLines(now time.Time, line []byte) error
	close() error
}

// Log records events as JSON lines. Events that come at the same time share
// one write. It is safe for concurrent use. A line is with the operating
// system when Record returns; it is not synced to the disk.
type Log struct {
	opts    Options
	metrics *metrics
	bufs    sync.Pool // of *[]byte

	joining sync.Mutex
	next    *group // takes lines until it is written; nil while there are none

	mu        sync.Mutex
	out       sink
	failed    error // of the last write; nil while events are taken
	failedAt  time.Time
	lastProbe time.Time
	dropped   uint64 // events lost since failedAt
	closed    bool
}

var errClosed = errors.New("the audit log is closed")

func newLog(out sink, opts Options, m *metrics) *Log {
	return &Log{opts: opts, metrics: m, out: out, bufs: sync.Pool{New: func() any { return new([]byte) }}}
}

// NewStream returns a Log that writes to w, in practice the standard output.
// Closing the Log does not close w.
func NewStream(w io.Writer, opts Options) (*Log, error) {
	opts, m, err := opts.prepare()
	if err != nil {
		return nil, err
	}
	return newLog(&stream{w: w}, opts, m), nil
}

func (o Options) prepare() (Options, *metrics, error) {
	if o.Now == nil {
		return o, nil, errors.New("open audit log: Now is required")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Register)
	if err != nil {
		return o, nil, fmt.Errorf("register audit metrics: %w", err)
	}
	return o, m, nil
}

// Record writes the event. An error means that the event is lost; it is
// counted, and the first line after recovery tells how many were.
func (l *Log) Record(_ context.Context, e *Event) error {
	buf := l.buffer()
	defer l.release(buf)
	var err error
	if *buf, err = appendLine((*buf)[:0], e); err != nil {
		// The sink is well; this one event cannot be written down.
		l.metrics.dropped.WithLabelValues(e.EventSource).Inc()
		return fmt.Errorf("encode audit event: %w", err)
	}
	g, first := l.join(*buf)
	if first {
		// Callers that are ready to run bring their lines before this one writes.
		runtime.Gosched()
		l.writeGroup(g)
	}
	<-g.written
	if g.err != nil {
		l.metrics.dropped.WithLabelValues(e.EventSource).Inc()
		return fmt.Errorf("write audit event: %w", g.err)
	}
	return nil
}

// group is lines that go to the sink in one write. When it fails all of them
// count as lost, though a stream cannot take back what it got.
type group struct {
	lines   *[]byte
	events  uint64
	written chan struct{} // closed when err says how it went
	err     error
}

// join adds a line to the group that is written next. Whoever is first has to
// write it.
func (l *Log) join(line []byte) (g *group, first bool) {
	l.joining.Lock()
	defer l.joining.Unlock()
	first = l.next == nil
	if first {
		l.next = &group{lines: l.buffer(), written: make(chan struct{})}
	}
	*l.next.lines = append(*l.next.lines, line...)
	l.next.events++
	return l.next, first
}

// writeGroup writes the group that is next, with all that have joined it
// until the one before was written.
func (l *Log) writeGroup(g *group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joining.Lock()
	l.next = nil
	l.joining.Unlock()
	if g.err = l.write(*g.lines); g.err != nil {
		l.dropped += g.events
	}
	l.release(g.lines)
	close(g.written)
}

// Ready returns why events are not taken, or nil. While the last write has
// failed it tries again, at most once a second, by writing the line about the
// gap; so recovery is noticed without traffic.
func (l *Log) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	if l.failed == nil {
		return nil
	}
	now := l.opts.Now()
	if now.Sub(l.lastProbe) < probeEvery {
		return fmt.Errorf("write audit event: %w", l.failed)
	}
	if err := l.write(nil); err != nil {
		return fmt.Errorf("write audit event: %w", err)
	}
	return nil
}

// Close closes the sink; later events are refused.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if err := l.out.close(); err != nil {
		return fmt.Errorf("close audit log: %w", err)
	}
	return nil
}

// write writes the lines, after the one about a gap if there is one. The
// caller holds mu.
func (l *Log) write(lines []byte) error {
	if l.closed {
		return errClosed
	}
	now := l.opts.Now()
	if l.failed != nil {
		l.lastProbe = now
		if err := l.writeGap(now); err != nil {
			return l.fail(now, err)
		}
		l.opts.Log.Info("audit log is written again", "events_lost", l.dropped, "since", l.failedAt)
		l.failed, l.dropped = nil, 0
	}
	if len(lines) == 0 {
		return nil
	}
	if err := l.out.writeLines(now, lines); err != nil {
		return l.fail(now, err)
	}
	return nil
}

func (l *Log) fail(now time.Time, err error) error {
	l.metrics.writeErrors.Inc()
	if l.failed == nil {
		l.failedAt, l.lastProbe = now, now
		l.opts.Log.Error("audit log cannot be written; changes are refused until it can", "err", err)
	}
	l.failed = err
	return err
}

// gap is the detail of a gap's line.
type gap struct {
	EventsLost uint64    `json:"eventsLost"`
	Since      time.Time `json:"since"`
	Cause      string    `json:"cause"`
}

func (l *Log) writeGap(now time.Time) error {
	buf := l.buffer()
	defer l.release(buf)
	var err error
	*buf, err = appendLine((*buf)[:0], &Event{
		EventVersion: "1.11", UserIdentity: UserIdentity{Type: "AWSService", InvokedBy: "podid"},
		EventTime: now.UTC().Truncate(time.Second), EventSource: "podid", EventName: GapName, AWSRegion: l.opts.Region,
		SourceIPAddress: "podid", EventID: uuid.Random(), EventType: "AwsServiceEvent", ManagementEvent: true,
		RecipientAccountID: l.opts.Account, EventCategory: "Management",
		Podid: &Extra{Reason: "audit-unavailable", Detail: gap{l.dropped, l.failedAt.UTC(), l.failed.Error()}},
	})
	if err != nil {
		return err
	}
	return l.out.writeLines(now, *buf)
}

func (l *Log) buffer() *[]byte {
	buf, _ := l.bufs.Get().(*[]byte)
	return buf
}

func (l *Log) release(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		*buf = (*buf)[:0]
		l.bufs.Put(buf)
	}
}

// stream writes lines to a writer that can neither be rotated nor cut back.
type stream struct {
	w    io.Writer
	torn bool
}

func (s *stream) writeLines(_ time.Time, line []byte) error {
	if s.torn {
		if _, err := s.w.Write([]byte{'\n'}); err != nil {
			return err
		}
		s.torn = false
	}
	n, err := s.w.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	s.torn = err != nil && n > 0
	return err
}

func (*stream) close() error { return nil }

type metrics struct {
	writeErrors prometheus.Counter
	dropped     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		writeErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "podid_audit_write_errors_total", Help: "Attempts to write to the audit log that came back with an error.",
		}),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "podid_audit_events_dropped_total", Help: "Audit events that were lost, by event source; eks-auth.amazonaws.com are exchanges that went on.",
		}, []string{"event_source"}),
	}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.writeErrors); err != nil {
		return nil, err
	}
	return m, reg.Register(m.dropped)
}
