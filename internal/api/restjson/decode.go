// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package restjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"podid/internal/fault"
)

// Decode reads body, one JSON object or nothing, into the struct that out
// points at. Members are matched by their exact names in `json` tags; null
// leaves a field as it is; unknown members are ignored. A member of a wrong
// type, a member given twice, truncated JSON and data after the object are
// refused with a fault that says which and where.
func Decode(body []byte, out any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !utf8.Valid(body) {
		return serialization("The body is not UTF-8.")
	}
	members, err := object(body)
	if err != nil {
		return err
	}
	v := reflect.ValueOf(out).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		raw, ok := members[name]
		if !ok || name == "" || name == "-" || string(raw) == "null" {
			continue
		}
		if err := json.Unmarshal(raw, v.Field(i).Addr().Interface()); err != nil {
			return memberError(name, err)
		}
	}
	return nil
}

// object splits the one object of body into its members.
func object(body []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	t, err := dec.Token()
	if err != nil {
		return nil, syntaxError(dec, err)
	}
	if t != json.Delim('{') {
		return nil, serialization("The body is not a JSON object.")
	}
	members := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, syntaxError(dec, err)
		}
		name := t.(string) // the decoder accepts nothing else as a member's name
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, syntaxError(dec, err)
		}
		if _, twice := members[name]; twice {
			return nil, serialization("The member %.100q is given twice.", name)
		}
		members[name] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, syntaxError(dec, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, serialization("The body goes on after the JSON object.")
	}
	return members, nil
}

func syntaxError(dec *json.Decoder, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return serialization("The JSON body ends too early, after byte %d.", dec.InputOffset())
	}
	if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
		return serialization("The body is not JSON near byte %d: %s.", dec.InputOffset(), strings.TrimPrefix(s.Error(), "json: "))
	}
	return serialization("The body is not JSON.").Because(err)
}

func memberError(name string, err error) error {
	t := (*json.UnmarshalTypeError)(nil)
	if !errors.As(err, &t) {
		return serialization("The member %s is not valid: %s.", name, err)
	}
	if t.Field != "" {
		name += "." + t.Field
	}
	article := "a"
	if t.Value == "array" || t.Value == "object" {
		article = "an"
	}
	return serialization("The member %s is %s %s; %s is wanted.", name, article, t.Value, wanted(t.Type))
}

func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "a boolean"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}

func serialization(format string, args ...any) *fault.Error {
	return fault.New(fault.InvalidRequest, format, args...).WithReason(ReasonSerialization)
}

// Query parses the query string of u. It refuses what cannot be decoded, and
// parameters given twice that are no lists: they have two meanings.
func Query(u *url.URL, lists ...string) (url.Values, error) {
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fault.New(fault.InvalidRequest, "The query string cannot be decoded.").WithReason("query-escape").Because(err)
	}
	for name, values := range q {
		if len(values) > 1 && !slices.Contains(lists, name) {
			return nil, serialization("The parameter %.100q is given twice.", name)
		}
	}
	return q, nil
}

// MaxResults reads the page size of a list operation: 1 to 100, 100 when absent.
func MaxResults(q url.Values) (int, error) {
	if !q.Has("maxResults") {
		return 100, nil
	}
	n, err := strconv.Atoi(q.Get("maxResults"))
	if err != nil {
		return 0, serialization("The parameter maxResults is %.40q; a number is wanted.", q.Get("maxResults"))
	}
	if n < 1 || n > 100 {
		return 0, fault.New(fault.InvalidParameter, "maxResults must be between 1 and 100, not %d.", n).WithReason("max-results")
	}
	return n, nil
}
