// Package obs is what operators see: the log, the audit log, and the metrics.
//
// It imports nothing of Sesame.
package obs

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// NewLog gives a log of level ("debug", "info", "warn", "error") and form
// ("text", "json") that writes to w.
func NewLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

// OpenAudit opens the audit log, a JSON object a line, for adding at its end.
func OpenAudit(path string) (*slog.Logger, io.Closer, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the audit log: %w", err)
	}
	return slog.New(slog.NewJSONHandler(f, nil)), f, nil
}

// Metrics are the server's Prometheus metrics.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lines    *prometheus.CounterVec
	uploads  prometheus.Counter
	events   *prometheus.CounterVec
}

// NewMetrics makes metrics of their own registry, so that two servers can run in
// one process.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sesame_requests_total", Help: "API requests by operation and result."}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sesame_request_seconds", Help: "Time to answer API requests.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3, 10}}, []string{"operation"}),
		lines: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sesame_import_lines_total", Help: "Lines of import files by result."}, []string{"result"}),
		uploads: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sesame_upload_bytes_total", Help: "Bytes of uploads that were kept."}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sesame_events_total", Help: "Email events by door and result: added, duplicate; and rejected records."}, []string{"door", "result"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.lines, m.uploads, m.events,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Request counts an answered request. Operation and code come from fixed sets.
func (m *Metrics) Request(operation, code string, d time.Duration) {
	m.requests.WithLabelValues(operation, code).Inc()
	m.seconds.WithLabelValues(operation).Observe(d.Seconds())
}

// Lines counts lines of import files.
func (m *Metrics) Lines(imported, refused int64) {
	m.lines.WithLabelValues("imported").Add(float64(imported))
	m.lines.WithLabelValues("refused").Add(float64(refused))
}

// Uploaded counts the bytes of an upload.
func (m *Metrics) Uploaded(bytes int64) { m.uploads.Add(float64(bytes)) }

// Events counts what came through a door for events. Doors come from a fixed set.
func (m *Metrics) Events(door string, added, duplicates, rejected int) {
	m.events.WithLabelValues(door, "added").Add(float64(added))
	m.events.WithLabelValues(door, "duplicate").Add(float64(duplicates))
	m.events.WithLabelValues(door, "rejected").Add(float64(rejected))
}

// Handler serves the metrics in Prometheus's text form.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
