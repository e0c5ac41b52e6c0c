// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Defaults of [Settings], those of OpenTelemetry's specification.
const (
	DefaultServiceName   = "podid-agent"
	DefaultInterval      = time.Minute
	DefaultTimeout       = 10 * time.Second
	DefaultExportTimeout = 30 * time.Second

	maxTime = 24 * time.Hour
)

// Settings say where, how and how often metrics are pushed. Read makes them of the environment.
type Settings struct {
	Endpoint Endpoint
	Headers  Headers
	// Interval is between two pushes. Timeout bounds one request, ExportTimeout a push with all its retries.
	Interval, Timeout, ExportTimeout time.Duration
	// Gzip: requests are compressed.
	Gzip bool
	// CAFile holds the only CAs to trust; empty: the system's.
	CAFile string
	// Attributes of the resource go before those that the exporter knows.
	Attributes map[string]string
}

// Lookup reads an environment variable; os.LookupEnv is one.
type Lookup func(string) (string, bool)

const (
	ofAll     = "OTEL_EXPORTER_OTLP_"
	ofMetrics = "OTEL_EXPORTER_OTLP_METRICS_"
)

// Read makes settings of OpenTelemetry's environment variables. A base that is not empty replaces both variables of the
// endpoint. Where there is no endpoint, or the environment switches metrics off, the settings are nil. Every problem is
// reported, and no error shows a header, an attribute or an endpoint.
func Read(env Lookup, base string) (*Settings, error) {
	r := reader{env: env}
	name, text := "--otlp-endpoint", base
	if base == "" {
		name, text = r.signal("ENDPOINT")
	}
	if text == "" || r.off() {
		return nil, errors.Join(r.problems...)
	}
	var s Settings
	var err error
	s.Endpoint, err = parseEndpoint(text, name == ofMetrics+"ENDPOINT")
	r.note(name, err)
	name, text = r.signal("HEADERS")
	s.Headers, err = parseHeaders(text)
	r.note(name, err)
	s.Attributes, err = parseAttributes(r.get("OTEL_RESOURCE_ATTRIBUTES"))
	r.note("OTEL_RESOURCE_ATTRIBUTES", err)
	if service := r.get("OTEL_SERVICE_NAME"); service != "" && s.Attributes != nil {
		s.Attributes["service.name"] = service
	}
	s.Interval = r.milliseconds("OTEL_METRIC_EXPORT_INTERVAL", r.get("OTEL_METRIC_EXPORT_INTERVAL"), DefaultInterval)
	s.ExportTimeout = r.milliseconds("OTEL_METRIC_EXPORT_TIMEOUT", r.get("OTEL_METRIC_EXPORT_TIMEOUT"), DefaultExportTimeout)
	name, text = r.signal("TIMEOUT")
	s.Timeout = r.milliseconds(name, text, DefaultTimeout)
	s.Gzip = r.oneOf("COMPRESSION", "none", "gzip") == "gzip"
	r.protocol()
	r.temporality()
	_, s.CAFile = r.signal("CERTIFICATE")
	for _, suffix := range []string{"CLIENT_CERTIFICATE", "CLIENT_KEY"} {
		if name, text := r.signal(suffix); text != "" {
			r.note(name, errors.New("certificates of the agent's own are not supported: a header can say who it is"))
		}
	}
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	return &s, nil
}

// reader collects what is wrong with the environment.
type reader struct {
	env      Lookup
	problems []error
}

func (r *reader) note(name string, err error) {
	if err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", name, err))
	}
}

// get reads a variable; an empty one is one that is not set.
func (r *reader) get(name string) string {
	value, _ := r.env(name)
	return strings.TrimSpace(value)
}

// signal reads a variable of metrics, else that of all signals, and names the one that counts.
func (r *reader) signal(suffix string) (name, value string) {
	if value := r.get(ofMetrics + suffix); value != "" {
		return ofMetrics + suffix, value
	}
	return ofAll + suffix, r.get(ofAll + suffix)
}

// off tells whether the environment switches OTLP metrics off.
func (r *reader) off() bool {
	switch disabled := r.get("OTEL_SDK_DISABLED"); strings.ToLower(disabled) {
	case "", "false":
	case "true":
		return true
	default:
		r.note("OTEL_SDK_DISABLED", fmt.Errorf("%q: want true or false", disabled))
	}
	wanted := false
	for exporter := range strings.SplitSeq(cmp.Or(r.get("OTEL_METRICS_EXPORTER"), "otlp"), ",") {
		switch exporter = strings.TrimSpace(exporter); exporter {
		case "otlp":
			wanted = true
		case "none", "prometheus": // what Prometheus reads is there in any case
		default:
			r.note("OTEL_METRICS_EXPORTER", fmt.Errorf("%q: want otlp or none", exporter))
			wanted = true // the other problems count, too
		}
	}
	return !wanted
}

func (r *reader) protocol() {
	switch name, protocol := r.signal("PROTOCOL"); protocol {
	case "", "http/protobuf":
	case "grpc":
		r.note(name, errors.New("grpc is not spoken here: want http/protobuf, at a collector's port 4318 as a rule"))
	default:
		r.note(name, fmt.Errorf("%q: want http/protobuf", protocol))
	}
}

func (r *reader) temporality() {
	const name = ofMetrics + "TEMPORALITY_PREFERENCE"
	if preference := r.get(name); preference != "" && !strings.EqualFold(preference, "cumulative") {
		r.note(name, fmt.Errorf("%q: want cumulative", preference))
	}
}

func (r *reader) oneOf(suffix string, values ...string) string {
	name, value := r.signal(suffix)
	for _, v := range values {
		if value == v {
			return v
		}
	}
	if value != "" {
		r.note(name, fmt.Errorf("%q: want %s", value, strings.Join(values, " or ")))
	}
	return values[0]
}

func (r *reader) milliseconds(name, text string, otherwise time.Duration) time.Duration {
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > maxTime.Milliseconds() {
		r.note(name, fmt.Errorf("%q: want milliseconds, 1 to %d", text, maxTime.Milliseconds()))
		return otherwise
	}
	return time.Duration(n) * time.Millisecond
}
