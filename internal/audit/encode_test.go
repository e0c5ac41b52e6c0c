// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// standard is encoding/json's form of an event, which appendLine has to give.
func standard(t *testing.T, e *Event) string {
	t.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func sameLine(t *testing.T, e *Event) {
	t.Helper()
	got, err := appendLine(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	if want := standard(t, e); string(got) != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
}

func TestLine(t *testing.T) {
	for name, e := range map[string]*Event{
		"zero":            {},
		"empty podid":     {Podid: &Extra{}},
		"local time":      {EventTime: time.Date(2026, 11, 22, 10, 0, 0, 1, time.FixedZone("", 3600))},
		"fractional time": {EventTime: time.Date(2026, 11, 22, 10, 0, 0, 120_000_000, time.UTC)},
		"hostile text":    {UserAgent: "a\"b\\c\nd\x00\x7f\xff <&> \u2028 é", ErrorMessage: "\t"},
		"parameters":      {RequestParameters: map[string]any{"a": []int{1}, "b": "<&>"}, ResponseElements: struct{}{}},
		"maps":            {RequestParameters: map[string]string{"b": "\"", "a": "é", "": ""}, ResponseElements: map[string]any{"n": 3, "m": map[string]string(nil), "f": 1.5, "s": "x"}},
		"many members":    {RequestParameters: map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": "", "7": "", "8": "", "9": "", "10": "", "11": "", "12": "", "13": "", "14": "", "15": "", "16": "", "17": "", "18": ""}},
		"no map":          {RequestParameters: map[string]any(nil)},
		"no tags":         {Podid: &Extra{SessionTags: []Tag{}, Detail: map[string]string{"sid": "x"}}},
		"no resources":    {Resources: []Resource{}},
		"assumption": {ResponseElements: Assumption{
			AssumedRoleUser: AssumedRoleUser{ARN: "arn:é", AssumedRoleID: "AROA\":s"}, PackedPolicySize: 7,
			Credentials: IssuedCredentials{AccessKeyID: "ASIA", Expiration: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), SessionToken: Hidden},
		}},
		"resources": {Resources: []Resource{{ARN: "a"}, {AccountID: "1", ARN: "b"}, {Type: "t"}}},
	} {
		t.Run(name, func(t *testing.T) { sameLine(t, e) })
	}
}

// TestLineHoldsEveryMember fills events at random, so that a member that is
// added to Event and forgotten in appendLine is found.
func TestLineHoldsEveryMember(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var e Event
		fill(r, reflect.ValueOf(&e).Elem())
		sameLine(t, &e)
	}
}

// fill gives about half of the members a value.
func fill(r *rand.Rand, v reflect.Value) {
	if tm, ok := v.Addr().Interface().(*time.Time); ok {
		*tm = time.Unix(r.Int64N(4e9), 0).UTC()
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if r.IntN(4) > 0 || v.Field(i).Kind() == reflect.Struct {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(3), 3))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString([]string{"plain", "with \"quotes\"", "ünïcode", "arn:aws:iam::1:role/a"}[r.IntN(4)])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1000))
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]string{"k": "v<"}))
	default:
		panic("fill: " + v.Kind().String())
	}
}

func TestLineReportsWhatCannotBeEncoded(t *testing.T) {
	if _, err := appendLine(nil, &Event{RequestParameters: func() {}}); err == nil {
		t.Error("a function was encoded")
	}
}
