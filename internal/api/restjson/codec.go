// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"podid/internal/api/call"
	"podid/internal/compactjson"
	"podid/internal/fault"
)

// Exception is a fault's form on the wire.
type Exception struct {
	Name   string // value of x-amzn-ErrorType
	Status int
}

// Errors maps kinds of fault to exceptions.
type Errors map[fault.Kind]Exception

// ReasonSerialization marks the fault of a body that cannot be read as the
// operation's input. It is an InvalidRequest for the domain and a
// SerializationException on the wire, as AWS' REST services have it.
const ReasonSerialization = "serialization"

// DefaultErrors is the table that holds where a service says nothing else:
// that of the EKS API, with the exceptions that AWS' REST services give for
// signatures. Source: EKS API Reference, "Common Errors"; the API model of
// eks 2017-11-01.
func DefaultErrors() Errors {
	const bad, forbidden = http.StatusBadRequest, http.StatusForbidden
	return Errors{
		fault.Internal:              {"ServerException", http.StatusInternalServerError},
		fault.Unavailable:           {"ServiceUnavailableException", http.StatusServiceUnavailable},
		fault.Throttled:             {"ThrottlingException", http.StatusTooManyRequests},
		fault.InvalidParameter:      {"InvalidParameterException", bad},
		fault.InvalidRequest:        {"InvalidRequestException", bad},
		fault.MissingParameter:      {"InvalidParameterException", bad},
		fault.MalformedPolicy:       {"InvalidParameterException", bad},
		fault.NotFound:              {"ResourceNotFoundException", http.StatusNotFound},
		fault.AlreadyExists:         {"ResourceInUseException", http.StatusConflict},
		fault.DeleteConflict:        {"ResourceInUseException", http.StatusConflict},
		fault.LimitExceeded:         {"ResourceLimitExceededException", bad},
		fault.AccessDenied:          {"AccessDeniedException", forbidden},
		fault.ExpiredToken:          {"ExpiredTokenException", forbidden},
		fault.ExpiredCredentials:    {"ExpiredTokenException", forbidden},
		fault.InvalidToken:          {"UnrecognizedClientException", forbidden},
		fault.MissingAuthentication: {"MissingAuthenticationTokenException", forbidden},
		fault.UnknownAccessKey:      {"UnrecognizedClientException", forbidden},
		fault.SignatureMismatch:     {"InvalidSignatureException", forbidden},
		fault.IncompleteSignature:   {"IncompleteSignatureException", forbidden},
		fault.UnknownOperation:      {"UnknownOperationException", http.StatusNotFound},
		fault.IdPRejected:           {"InvalidParameterException", bad},
		fault.IdPUnavailable:        {"InvalidRequestException", bad},
		fault.PackedPolicyTooLarge:  {"InvalidRequestException", bad},
		fault.TooLarge:              {"RequestEntityTooLargeException", http.StatusRequestEntityTooLarge},
	}
}

// Appender is a result that writes its own JSON: the fast path of answers
// that are given often.
type Appender interface{ AppendJSON(b []byte) []byte }

// Codec writes answers and exceptions in restJson1.
type Codec struct {
	errors  Errors
	buffers sync.Pool
}

var _ call.Codec = (*Codec)(nil)

// NewCodec returns a codec whose exceptions are DefaultErrors, overlaid with
// a service's own.
func NewCodec(own Errors) *Codec {
	t := DefaultErrors()
	maps.Copy(t, own)
	return &Codec{errors: t, buffers: sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}}
}

// Result writes a 200 answer: the result's own JSON, encoding/json's of it,
// or {} for nil. A result that cannot be encoded becomes the internal
// exception and an error for the log.
func (c *Codec) Result(w http.ResponseWriter, requestID string, op call.Operation, result any) (int, error) {
	switch v := result.(type) {
	case nil:
		return http.StatusOK, send(w, requestID, http.StatusOK, []byte("{}"))
	case Appender:
		p := c.buffers.Get().(*[]byte)
		*p = v.AppendJSON((*p)[:0])
		err := send(w, requestID, http.StatusOK, *p)
		clear(*p) // answers hold credentials
		c.buffers.Put(p)
		return http.StatusOK, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		_, status := c.Error(w, requestID, op, &fault.Error{Kind: fault.Internal})
		return status, fmt.Errorf("encode result of %s: %w", op.Name, err)
	}
	return http.StatusOK, send(w, requestID, http.StatusOK, b)
}

// Error writes an exception: header x-amzn-ErrorType, body {"message"}, and
// Retry-After in whole seconds where the fault knows it. The cause and detail of a fault stay on this side.
func (c *Codec) Error(w http.ResponseWriter, requestID string, _ call.Operation, f *fault.Error) (string, int) {
	e, ok := c.errors[f.Kind]
	if !ok {
		e = c.errors[fault.Internal]
	}
	if f.Kind == fault.InvalidRequest && f.Reason == ReasonSerialization {
		e.Name = "SerializationException"
	}
	msg := f.Message
	if msg == "" {
		msg = "The service could not complete the request; its log has the cause under the request id."
	}
	b := AppendString([]byte(`{"message":`), msg)
	w.Header()["X-Amzn-Errortype"] = []string{e.Name}
	if f.RetryAfter > 0 {
		w.Header()["Retry-After"] = []string{strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10)}
	}
	_ = send(w, requestID, e.Status, append(b, '}')) // the peer is gone: nobody is left to tell
	return e.Name, e.Status
}

func send(w http.ResponseWriter, requestID string, status int, body []byte) error {
	return call.Send(w, requestID, status, "application/json", body)
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become
// U+FFFD, as encoding/json has it.
func AppendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := compactjson.PlainPrefix(s); i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || n != 1 {
				i += n
				continue
			}
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, `\ufffd`...)
		}
		i++
		start = i
	}
	return append(append(b, s[start:]...), '"')
}

// Time is a timestamp on the wire: epoch seconds with milliseconds, as a JSON
// number. Go's and JavaScript's SDKs read nothing else.
type Time time.Time

// IsZero serves the omitzero option.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

// MarshalJSON encodes the time.
func (t Time) MarshalJSON() ([]byte, error) { return AppendTime(nil, time.Time(t)), nil }

// UnmarshalJSON reads epoch seconds, to the millisecond.
func (t *Time) UnmarshalJSON(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.Abs(f) > 1e12 {
		return fmt.Errorf("%.40q is not a timestamp in epoch seconds", b)
	}
	*t = Time(time.UnixMilli(int64(math.Round(f * 1000))).UTC())
	return nil
}

// AppendTime appends t in epoch seconds; milliseconds only where there are any.
// It rounds: times that were stored as floating point may lie a little below
// the millisecond they mean.
func AppendTime(b []byte, t time.Time) []byte {
	ms := t.Round(time.Millisecond).UnixMilli()
	if ms < 0 {
		b, ms = append(b, '-'), -ms
	}
	b = strconv.AppendInt(b, ms/1000, 10)
	frac := ms % 1000
	if frac == 0 {
		return b
	}
	return append(b, '.', byte('0'+frac/100), byte('0'+frac/10%10), byte('0'+frac%10))
}
