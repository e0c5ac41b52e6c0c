// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestOTLP: metrics are pushed where an endpoint is named, and nothing of OpenTelemetry's environment matters elsewhere.
func TestOTLP(t *testing.T) {
	tests := []struct {
		name     string
		args     []string
		env      []string
		endpoint string // "" for none
		warns    string
		err      []string
	}{
		{name: "nothing"},
		{name: "no endpoint", env: []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}},
		{name: "flag", args: []string{"--otlp-endpoint=http://c:4318"}, env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d"}, endpoint: "http://c:4318/v1/metrics"},
		{name: "environment", env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d"}, endpoint: "http://d/v1/metrics"},
		{name: "environment of metrics", env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://e/in"}, endpoint: "http://e/in"},
		{name: "switched off", env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_METRICS_EXPORTER=none"}},
		{name: "switched off against the flag", args: []string{"--otlp-endpoint=http://c"}, env: []string{"OTEL_SDK_DISABLED=true"}, warns: "metrics are not pushed"},
		{
			name: "problems, with the others", args: []string{"--otlp-endpoint=c:4318", "--max-attempts=0"}, env: []string{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
			err: []string{"--otlp-endpoint: want a URL", "grpc is not spoken here", "--max-attempts 0"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var o options
			flags := pflag.NewFlagSet("server", pflag.ContinueOnError)
			o.register(flags)
			if err := flags.Parse(append([]string{"-c=c", "--region=r", "--jwks-source=none", "--endpoint=https://podid"}, tc.args...)); err != nil {
				t.Fatal(err)
			}
			err := o.resolve(environ(append(tc.env, "NODE_NAME=node-1")...), flags.Changed)
			for _, want := range tc.err {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q", err, want)
				}
			}
			if err != nil {
				if len(tc.err) == 0 {
					t.Error(err)
				}
				return
			}
			var log bytes.Buffer
			cfg, err := o.agentConfig(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if cfg.OTLP != nil {
				got = cfg.OTLP.Endpoint.String()
			}
			if got != tc.endpoint || cfg.Node != "node-1" {
				t.Errorf("endpoint %q of node %q", got, cfg.Node)
			}
			if strings.Contains(log.String(), "metrics are not pushed") != (tc.warns != "") {
				t.Errorf("log %q, want %q", log.String(), tc.warns)
			}
		})
	}
}
