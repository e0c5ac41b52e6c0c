// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestRead(t *testing.T) {
	const base = "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318"
	defaults := Settings{
		Endpoint: Endpoint{"http://c:4318/v1/metrics", "http://c:4318/v1/metrics", true}, Interval: time.Minute, Timeout: 10 * time.Second, ExportTimeout: 30 * time.Second,
		Headers: Headers{http.Header{}}, Attributes: map[string]string{},
	}
	tests := []struct {
		name string
		flag string
		env  []string
		want func(*Settings) // nil: off
	}{
		{"nothing", "", nil, nil},
		{"no endpoint, whatever else", "", []string{"OTEL_METRICS_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, nil},
		{"empty is not set", "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, nil},
		{"defaults", "", []string{base}, func(*Settings) {}},
		{"by flag", "http://c:4318", nil, func(*Settings) {}},
		{"flag beats all", "http://c:4318", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://d", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://e"}, func(*Settings) {}},
		{"base with a path", "https://c/otlp/", nil, func(s *Settings) {
			s.Endpoint = Endpoint{"https://c/otlp/v1/metrics", "https://c/otlp/v1/metrics", false}
		}},
		{"of metrics, as it is", "", []string{base, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1/in?k=v"}, func(s *Settings) {
			s.Endpoint = Endpoint{"http://127.0.0.1/in?k=v", "http://127.0.0.1/in", false}
		}},
		{"of metrics, without a path", "", []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://localhost:4318"}, func(s *Settings) {
			s.Endpoint = Endpoint{"http://localhost:4318/", "http://localhost:4318/", false}
		}},
		{"disabled", "", []string{base, "OTEL_SDK_DISABLED=TRUE", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, nil},
		{"not disabled", "", []string{base, "OTEL_SDK_DISABLED=false"}, func(*Settings) {}},
		{"none", "", []string{base, "OTEL_METRICS_EXPORTER=none"}, nil},
		{"for Prometheus alone", "", []string{base, "OTEL_METRICS_EXPORTER=prometheus"}, nil},
		{"both", "", []string{base, "OTEL_METRICS_EXPORTER=prometheus, otlp"}, func(*Settings) {}},
		{"of metrics before those of all", "", []string{
			base, "OTEL_EXPORTER_OTLP_HEADERS=a=1", "OTEL_EXPORTER_OTLP_METRICS_HEADERS=b=2", "OTEL_EXPORTER_OTLP_TIMEOUT=1", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT=2",
			"OTEL_EXPORTER_OTLP_COMPRESSION=none", "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION=gzip", "OTEL_EXPORTER_OTLP_CERTIFICATE=/a", "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE=/b",
			"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf",
		}, func(s *Settings) {
			s.Headers.fields.Set("b", "2")
			s.Timeout, s.Gzip, s.CAFile = 2*time.Millisecond, true, "/b"
		}},
		{"times", "", []string{base, "OTEL_METRIC_EXPORT_INTERVAL=5000", "OTEL_METRIC_EXPORT_TIMEOUT= 4000 "}, func(s *Settings) {
			s.Interval, s.ExportTimeout = 5*time.Second, 4*time.Second
		}},
		{"name before attribute", "", []string{base, "OTEL_SERVICE_NAME=mine", "OTEL_RESOURCE_ATTRIBUTES=service.name=theirs,a%3Db=c%2Cd"}, func(s *Settings) {
			s.Attributes = map[string]string{"service.name": "mine", "a=b": "c,d"}
		}},
		{"cumulative", "", []string{base, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=Cumulative"}, func(*Settings) {}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Read(environ(tc.env...), tc.flag)
			if err != nil {
				t.Fatal(err)
			}
			var want *Settings
			if tc.want != nil {
				s := defaults
				s.Headers, s.Attributes = Headers{http.Header{}}, map[string]string{}
				tc.want(&s)
				want = &s
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(Endpoint{}, Headers{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadRefuses: every problem is named with its variable, and no secret with it.
func TestReadRefuses(t *testing.T) {
	const base = "OTEL_EXPORTER_OTLP_ENDPOINT=http://c"
	tests := []struct {
		name string
		env  []string
		want []string
	}{
		{"gRPC", []string{base, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, []string{"OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not spoken here: want http/protobuf"}},
		{"JSON", []string{base, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/json"}, []string{`OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: "http/json": want http/protobuf`}},
		{"all at once", []string{
			base, "OTEL_METRIC_EXPORT_INTERVAL=0", "OTEL_METRIC_EXPORT_TIMEOUT=1m", "OTEL_EXPORTER_OTLP_TIMEOUT=-1", "OTEL_EXPORTER_OTLP_COMPRESSION=zstd",
			"OTEL_SDK_DISABLED=no", "OTEL_METRICS_EXPORTER=console", "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=delta", "OTEL_EXPORTER_OTLP_CLIENT_KEY=/k",
			"OTEL_RESOURCE_ATTRIBUTES=a", "OTEL_EXPORTER_OTLP_HEADERS=a=%zz", "OTEL_SERVICE_NAME=x",
		}, []string{
			"INTERVAL: \"0\": want milliseconds, 1 to 86400000", "EXPORT_TIMEOUT", "OTLP_TIMEOUT", "\"zstd\": want none or gzip", "want true or false", "\"console\": want otlp or none",
			"want cumulative", "OTEL_EXPORTER_OTLP_CLIENT_KEY: certificates of the agent's own", "OTEL_RESOURCE_ATTRIBUTES: entry 1: want KEY=VALUE", "OTEL_EXPORTER_OTLP_HEADERS: entry 1: not percent-encoded",
		}},
		{"no scheme", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=secret:4318"}, []string{"OTEL_EXPORTER_OTLP_ENDPOINT: want a URL such as"}},
		{"no scheme, an address", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=10.0.0.1:4318"}, []string{"want a URL such as"}},
		{"no host", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http:///secret"}, []string{"want a URL such as"}},
		{"password", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:secret@c"}, []string{"user and password"}},
		{"password, spoilt", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:secret"}, []string{"want a URL such as"}},
		{"fragment", []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://c/#secret"}, []string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: a URL with a fragment"}},
		{"query of all signals", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://c/?k=secret"}, []string{"a query does not belong"}},
		{"no key", []string{base, "OTEL_EXPORTER_OTLP_HEADERS=a=1,=secret"}, []string{"entry 2: the key is empty"}},
		{"a secret alone", []string{base, "OTEL_EXPORTER_OTLP_HEADERS=Bearer secret"}, []string{"entry 1: want KEY=VALUE"}},
		{"no name", []string{base, "OTEL_EXPORTER_OTLP_HEADERS=a=1,secret two=2"}, []string{"header 2: the key is no name of a header"}},
		{"another request", []string{base, "OTEL_EXPORTER_OTLP_HEADERS=a=secret%0d%0aHost: x"}, []string{"header 1: the value holds control characters"}},
		{"the exporter's own", []string{base, "OTEL_EXPORTER_OTLP_HEADERS=content-type=secret"}, []string{"header 1: Content-Type is the exporter's own"}},
		{"no UTF-8", []string{base, "OTEL_RESOURCE_ATTRIBUTES=a=%ff"}, []string{"entry 1: not percent-encoded UTF-8"}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Read(environ(tc.env...), "")
			if err == nil {
				t.Fatalf("read as %v", got)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want %q", err, want)
				}
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func FuzzPairs(f *testing.F) {
	for _, text := range []string{"", "a=b", "a=b,c=d", " a = b%20c ,", "=", "a=%zz", "Authorization=Bearer%20x", "a=b;c=d", "a==b", "%2C=%00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pairs, err := parsePairs(text)
		if err != nil {
			if pairs != nil {
				t.Errorf("%q: %v beside %v", text, pairs, err)
			}
			return
		}
		escape := strings.NewReplacer("%", "%25", ",", "%2C", "=", "%3D", " ", "%20", "\t", "%09", "\n", "%0A", "\v", "%0B", "\f", "%0C", "\r", "%0D", "\u0085", "%C2%85", "\u00a0", "%C2%A0").Replace
		var again []string
		for _, p := range pairs {
			if p.key == "" {
				t.Errorf("%q: an empty key", text)
			}
			if strings.TrimSpace(escape(p.key)) != escape(p.key) || strings.TrimSpace(escape(p.value)) != escape(p.value) {
				return // a blank that the writer above does not know
			}
			again = append(again, escape(p.key)+"="+escape(p.value))
		}
		same, err := parsePairs(strings.Join(again, ","))
		if diff := cmp.Diff(pairs, same, cmp.AllowUnexported(pair{})); err != nil || diff != "" {
			t.Errorf("%q, written again as %q: %v\n%s", text, again, err, diff)
		}
		h, err := parseHeaders(text)
		if err != nil {
			return
		}
		for name, values := range h.fields {
			if !isToken(name) || len(values) != 1 || strings.ContainsAny(values[0], "\r\n\x00") {
				t.Errorf("%q: header %q: %q", text, name, values)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(rejection(3, "too old"))
	f.Add(status("no"))
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), 1<<63))
	f.Add([]byte{0x0b, 0x0c, 0x0a, 0xff})
	f.Fuzz(func(t *testing.T, body []byte) {
		if p := readPartial(body); p.rejected < 0 {
			t.Errorf("%d rejected", p.rejected)
		}
		if text := shorten(readStatus(body)); len([]rune(text)) > maxMessage+1 || strings.ContainsAny(text, "\n\t") {
			t.Errorf("text %q", text)
		}
	})
}
