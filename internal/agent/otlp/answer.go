// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package otlp

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	collectorpb "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

const (
	// maxAnswer bounds what is read of an answer, maxMessage what is told of its text.
	maxAnswer  = 64 << 10
	maxMessage = 300
	// maxRetryAfter bounds for how long a collector can silence the agent by one answer.
	maxRetryAfter = time.Hour
)

// statusError is an answer that is not 2xx.
type statusError struct {
	status  int
	message string
	// retryAfter is what the collector asks for; 0: nothing.
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	text := "the collector answers " + strconv.Itoa(e.status)
	if name := http.StatusText(e.status); name != "" {
		text += " " + name
	}
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// again tells whether OTLP has the request retried; any other answer says that it would fare no better.
func (e *statusError) again() bool {
	switch e.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// partial is what a collector did not take, or what it took and has something to say about (rejected is 0 then).
type partial struct {
	rejected int64
	message  string
}

// readPartial reads the answer to a push that was taken. What cannot be read says nothing.
func readPartial(body []byte) partial {
	var answer collectorpb.ExportMetricsServiceResponse
	if err := proto.Unmarshal(body, &answer); err != nil {
		return partial{}
	}
	p := answer.GetPartialSuccess()
	return partial{rejected: max(p.GetRejectedDataPoints(), 0), message: p.GetErrorMessage()}
}

// readStatus reads the text of a google.rpc.Status, which is its field 2: for one field of another module's message the wire
// will do.
func readStatus(body []byte) (message string) {
	for len(body) > 0 {
		field, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			break
		}
		body = body[n:]
		if field == 2 && kind == protowire.BytesType {
			text, _ := protowire.ConsumeBytes(body)
			message = string(text)
		}
		if n = protowire.ConsumeFieldValue(field, kind, body); n < 0 {
			break
		}
		body = body[n:]
	}
	return message
}

// shorten makes a text of the collector fit to be told.
func shorten(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage]) + "…"
	}
	return text
}

// retryAfter reads the header of that name, which is seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(text, 10, 63); err == nil {
		return time.Duration(min(seconds, uint64(math.Ceil(maxRetryAfter.Seconds())))) * time.Second //nolint:gosec // an hour at most
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), 0), maxRetryAfter)
	}
	return 0
}
